// Package exechandler runs a program as a step: handler "exec" (SEMANTICS 9).
//
// handler_config:
//
//	command       a text for /bin/sh -c, or a list: a program and its arguments, without a shell; required
//	shell         true or false: says aloud what command means, and is checked against it
//	env           variables; their values may hold ${context.key} and ${results.step.key}; null leaves one unset
//	pass_env      names of variables of the engine's environment to pass on
//	dir           working directory; default the engine's
//	grace         time to end in, from SIGTERM to SIGKILL; default 500 ms, at most 10 min
//	max_output    bytes of stdout at most; default 1 MiB, at most 16 MiB
//	max_stderr    bytes of stderr that are logged; default 1 MiB, at most 16 MiB
//	retry_on      exit codes that ask for a retry
//	permanent_on  exit codes that fail for good
//
// The arguments of a list may hold ${...}. A text may not, nor may code for an interpreter in a list (sh -c ...): a value
// of the task could become code there. It is passed with env, or as an argument behind the code.
//
// The environment has PATH, HOME, LANG, LC_*, TZ, TMPDIR and USER of the engine, pass_env, env, and TASKER_TASK (the
// task's id), TASKER_STEP, TASKER_ATTEMPT and TASKER_IDEMPOTENCY_KEY. Nothing else: a secret of the engine reaches a
// command only by name. A program without a slash in its name is looked for in the absolute folders of that PATH.
//
// stdin is one line of JSON:
//
//	{"task":{"id","namespace","name","version"},"context":...,
//	 "step":{"name","attempt","round","inputs","idempotency_key","last_error"},"results":{"<step that is over>":...}}
//
// stdout is the result: one JSON value; nothing is null; any other text becomes a JSON string. stderr is the step's log,
// line by line, its end also in the error.
//
// Exit 0 is success, 75 asks for a retry, another code fails for good; retry_on and permanent_on change that. The code of
// the failure is EXIT_<n>, EX_TEMPFAIL for a retry with 75. With an exit code that asks for a retry, a stdout of
// {"retry_after": "30s"} says when. What cannot be started has the codes of a shell: 127 was not found, 126 cannot be
// executed. A command that dies of a signal is retried, with code SIGNAL_<name>; in the two lists it counts as 128+n.
//
// The command has a session and a process group of its own, hence no terminal. When the execution is over before the
// command is, the group is sent SIGTERM, and after the grace SIGKILL. Whatever of the group is left when the command has
// ended is killed, too. Only who leaves the group on purpose (setsid, daemon) survives; its hold on stdout and stderr
// is given up half a second after the command has ended.
package exechandler
