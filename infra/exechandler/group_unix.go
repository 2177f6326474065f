//go:build unix

package exechandler

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the command the leader of a session and a process group. A Ctrl-C at the engine's terminal does not
// reach it: the engine decides. Nor can it ask somebody at that terminal for a password, and wait for ever.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// terminate asks the group of the command to end; false when nothing is left of it.
func terminate(cmd *exec.Cmd) bool { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) == nil }

// killGroup kills what is left of the group. As long as something is left, the number is not given to another group.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// groupLives is asked after the command itself has been waited for.
func groupLives(cmd *exec.Cmd) bool {
	return syscall.Kill(-cmd.Process.Pid, 0) == nil && !onlyZombies(cmd.Process.Pid)
}

// signals have other numbers on other systems.
var signals = map[syscall.Signal]string{
	syscall.SIGABRT: "ABRT", syscall.SIGALRM: "ALRM", syscall.SIGBUS: "BUS", syscall.SIGFPE: "FPE", syscall.SIGHUP: "HUP",
	syscall.SIGILL: "ILL", syscall.SIGINT: "INT", syscall.SIGKILL: "KILL", syscall.SIGPIPE: "PIPE", syscall.SIGPROF: "PROF",
	syscall.SIGQUIT: "QUIT", syscall.SIGSEGV: "SEGV", syscall.SIGSYS: "SYS", syscall.SIGTERM: "TERM", syscall.SIGTRAP: "TRAP",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2", syscall.SIGVTALRM: "VTALRM", syscall.SIGXCPU: "XCPU", syscall.SIGXFSZ: "XFSZ",
}

// signalName is "KILL" for SIGKILL; "" for a number without a name.
func signalName(number int) string { return signals[syscall.Signal(number)] }

// signalOf is the signal that killed a command; 0 when none did.
func signalOf(exit *exec.ExitError) int {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return int(status.Signal())
	}
	return 0
}
