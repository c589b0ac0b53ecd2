//go:build !linux

package testserver

import (
	"os/user"
	"syscall"
)

// Elsewhere servers run as the current user, and Main alone ends them and
// removes their folders.

func processAttributes(*user.User, syscall.Signal) *syscall.SysProcAttr { return nil }

func holdFolder(string) error { return nil }

func releaseFolder(string) {}

func abandoned(string) bool { return false }
