package testserver

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

const folderPrefix = "celeryresults-server-"

// newFolder makes a folder for one server, owned by the account that it runs
// as, after clearing away those that killed test processes left.
func newFolder(account *user.User) (string, error) {
	sweepFolders()
	dir, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return "", fmt.Errorf("testserver: %w", err)
	}
	if err := holdFolder(dir); err != nil {
		return "", fmt.Errorf("testserver: %w", err)
	}
	if err := giveTo(account, dir); err != nil {
		return "", fmt.Errorf("testserver: %w", err)
	}
	return dir, nil
}

func giveTo(account *user.User, path string) error {
	if account == nil {
		return nil
	}
	uid, gid := ids(account)
	return os.Chown(path, uid, gid)
}

// ids returns the numeric ids of an account. On systems where they are not
// numbers servers are never started as somebody else.
func ids(account *user.User) (uid, gid int) {
	uid, _ = strconv.Atoi(account.Uid)
	gid, _ = strconv.Atoi(account.Gid)
	return uid, gid
}

// sweepFolders removes the folders whose process is gone.
func sweepFolders() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	for _, dir := range dirs {
		if abandoned(dir) {
			removeFolder(dir)
		}
	}
}

// writeAs writes a file that the account may read.
func writeAs(account *user.User, path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return giveTo(account, path)
}

func lockFile(dir string) string { return filepath.Join(dir, "lock") }

// removeFolder removes a server's folder. What cannot be removed now is swept
// by a later run.
func removeFolder(dir string) {
	releaseFolder(dir)
	_ = os.RemoveAll(dir)
}
