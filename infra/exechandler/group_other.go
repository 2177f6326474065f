//go:build !unix

package exechandler

import "os/exec"

// ownGroup leaves the command as it is: without process groups, only the command itself is killed.
func ownGroup(*exec.Cmd) {}

func killGroup(*exec.Cmd) {}
