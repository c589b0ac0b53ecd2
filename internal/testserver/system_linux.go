package testserver

import (
	"os"
	"os/user"
	"sync"
	"syscall"
)

// processAttributes puts a child in its own process group, so that an
// interrupt at the terminal does not reach it, makes it die with this process,
// and runs it as the account.
func processAttributes(account *user.User, death syscall.Signal) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
	if account != nil {
		uid, gid := ids(account)
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return attributes
}

// held are the lock files of this process's folders: the locks vanish with it.
var held sync.Map // folder → *os.File

// holdFolder locks the file before it gets the name that others look for.
func holdFolder(dir string) error {
	file, err := os.Create(lockFile(dir) + ".new")
	if err != nil {
		return err
	}
	held.Store(dir, file)
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	return os.Rename(file.Name(), lockFile(dir))
}

func releaseFolder(dir string) {
	if file, ok := held.LoadAndDelete(dir); ok {
		_ = file.(*os.File).Close()
	}
}

// abandoned reports whether a folder has a lock file that nobody holds.
func abandoned(dir string) bool {
	file, err := os.Open(lockFile(dir))
	if err != nil {
		return false
	}
	defer file.Close()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
