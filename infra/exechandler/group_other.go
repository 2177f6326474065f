//go:build !unix

package exechandler

import "os/exec"

// ownGroup leaves the command as it is: without process groups, only the command itself is killed.
func ownGroup(*exec.Cmd) {}

// terminate kills: there is no way to ask.
func terminate(cmd *exec.Cmd) bool { return cmd.Process.Kill() == nil }

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func groupLives(*exec.Cmd) bool { return false }

func signalName(int) string { return "" }

func signalOf(*exec.ExitError) int { return 0 }
