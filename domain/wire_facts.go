package domain

// fact reads the data that begins here as that of the event. Keys that the event does not have are passed over.
func (d *decoder) fact(env envelope) Event {
	if env.version != 1 {
		return d.unknown(env)
	}
	switch env.typ {
	case PartitionOpenedType:
		return d.partitionOpened()
	case PartitionSkippedType:
		return d.partitionSkipped()
	case DefinitionAdoptedType:
		return d.definitionAdopted()
	case TaskCreatedType:
		return d.taskCreated()
	case TaskStartRequestedType:
		return d.taskStartRequested()
	case TaskReenqueuedType:
		return TaskReenqueued{Reason: WaitReason(d.reason())}
	case TaskDelayedType:
		return d.taskDelayed()
	case TaskCompletedType:
		return d.taskCompleted()
	case TaskFailedType:
		return d.taskFailed()
	case TaskRetryRequestedType:
		return d.taskRetryRequested()
	case TaskCancelledType:
		return TaskCancelled{Reason: d.reason()}
	case TaskResolvedManuallyType:
		return TaskResolvedManually{Reason: d.reason()}
	case TaskPausedType:
		return TaskPaused{Reason: d.reason()}
	case TaskResumedType:
		return TaskResumed{Reason: d.reason()}
	case TaskAnnotatedType:
		return d.taskAnnotated()
	case StepInheritedType:
		return d.stepInherited(env)
	case StepExecutionRequestedType:
		return d.stepExecutionRequested(env)
	case StepCompletedType:
		result, reason := d.result()
		return StepCompleted{Step: env.step, Attempt: env.execution(), Result: result, Reason: reason}
	case StepFailedType:
		return d.stepFailed(env)
	case StepRetryRequestedType:
		return d.stepRetryRequested(env)
	case StepCancelledType:
		return StepCancelled{Step: env.step, Reason: d.reason()}
	case StepResolvedManuallyType:
		result, reason := d.result()
		return StepResolvedManually{Step: env.step, Result: result, Reason: reason}
	case StepSkippedType:
		return StepSkipped{Step: env.step, Reason: d.reason()}
	case TaskExpiredType:
		d.pass()
		return TaskExpired{}
	case StepCheckpointedType:
		return d.stepCheckpointed(env)
	case StepProgressedType:
		return d.stepProgressed(env)
	case StepLogAppendedType:
		return d.stepLogAppended(env)
	}
	if name, ok := CustomName(env.typ); ok {
		return d.custom(env, name)
	}
	return d.unknown(env)
}

// execution is the attempt of an event that is about one: 1 when it is left out.
func (env envelope) execution() int {
	if env.attempt < 0 {
		return 1
	}
	return env.attempt
}

func (d *decoder) unknown(env envelope) Event {
	return Unknown{TypeName: env.typ, Version: env.version, Step: env.step, Attempt: max(env.attempt, 0), Data: d.raw()}
}

func (d *decoder) partitionOpened() (ev PartitionOpened) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "writer":
			ev.Writer = d.str()
		case "engine":
			ev.Engine = d.str()
		case "least_reader":
			ev.LeastReader = int(d.number(64))
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) partitionSkipped() (ev PartitionSkipped) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "sequence":
			ev.Sequence = d.unsigned(64)
		case "reason":
			ev.Reason = d.str()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) definitionAdopted() (ev DefinitionAdopted) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "hash":
			ev.Hash = d.name()
		case "body":
			ev.Body = d.raw()
		case "packed":
			ev.Packed = d.bytes()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskCreated() (ev TaskCreated) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "namespace":
			ev.Namespace = d.name()
		case "name":
			ev.Name = d.name()
		case "version":
			ev.Version = d.name()
		case "definition":
			ev.Definition = d.name()
		case "context":
			ev.Context = Inline(d.raw())
		case "context_ref":
			ev.Context = d.blob()
		case "initiator":
			ev.Initiator = d.name()
		case "source_system":
			ev.SourceSystem = d.name()
		case "reason":
			ev.Reason = d.str()
		case "tags":
			ev.Tags = d.list()
		case "bypass_steps":
			ev.BypassSteps = d.list()
		case "correlation":
			ev.Correlation = d.str()
		case "traceparent":
			ev.Traceparent = d.str()
		case "deadline":
			ev.Deadline = d.instant()
		case "input":
			ev.InputHash = uint32(d.unsigned(32)) // #nosec G115 -- 32 bits were asked for
		case "forked":
			ev.Forked = d.forkedFrom()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskStartRequested() (ev TaskStartRequested) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "again":
			ev.Again = d.flag()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskDelayed() (ev TaskDelayed) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "reason":
			ev.Reason = WaitReason(d.name())
		case "until":
			ev.Until = d.instant()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskCompleted() (ev TaskCompleted) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "result":
			ev.Result = Inline(d.raw())
		case "result_ref":
			ev.Result = d.blob()
		case "from":
			ev.From = d.list()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskFailed() (ev TaskFailed) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "reason":
			ev.Reason = FailReason(d.name())
		case "steps":
			ev.Steps = d.list()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskRetryRequested() (ev TaskRetryRequested) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "reason":
			ev.Reason = d.str()
		case "deadline":
			ev.Deadline = d.instant()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) taskAnnotated() (ev TaskAnnotated) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "kind":
			ev.Kind = d.name()
		case "step":
			ev.Step = d.name()
		case "round":
			ev.Round = int(d.number(64))
		case "annotation":
			ev.Annotation = d.raw()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) stepExecutionRequested(env envelope) Event {
	ev := StepExecutionRequested{Step: env.step, Attempt: env.execution()}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "until":
			ev.Until = d.instant()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) stepFailed(env envelope) Event {
	ev := StepFailed{Step: env.step, Attempt: env.execution()}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "error":
			ev.Error = d.stepError()
		case "retry_at":
			ev.RetryAt = d.instant()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) stepError() (e StepError) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "message":
			e.Message = d.str()
		case "kind":
			e.Kind = ErrorKind(d.name())
		case "code":
			e.Code = d.name()
		case "frames":
			e.Frames = d.list()
		default:
			d.value()
		}
	}
	return e
}

func (d *decoder) stepRetryRequested(env envelope) Event {
	ev := StepRetryRequested{Step: env.step}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "new_round":
			ev.NewRound = d.flag()
		case "retry_limit":
			ev.RetryLimit = int(d.number(64))
		case "inputs":
			ev.Inputs = d.raw()
		case "reason":
			ev.Reason = d.str()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) stepCheckpointed(env envelope) Event {
	ev := StepCheckpointed{Step: env.step, Attempt: env.execution()}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "cursor":
			ev.Cursor = d.raw()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) stepProgressed(env envelope) Event {
	ev := StepProgressed{Step: env.step, Attempt: env.execution()}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "done":
			ev.Done = int(d.number(64))
		case "total":
			ev.Total = int(d.number(64))
		case "message":
			ev.Message = d.str()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) stepLogAppended(env envelope) Event {
	ev := StepLogAppended{Step: env.step, Attempt: env.execution()}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "lines":
			ev.Lines = d.lines()
		case "dropped":
			ev.Dropped = int(d.number(64))
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) custom(env envelope, name string) Event {
	ev := Custom{Name: name, Step: env.step, Attempt: env.execution()}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "data":
			ev.Data = d.raw()
		default:
			d.value()
		}
	}
	return ev
}

// ---- shapes that several events share

// lines takes a list of texts that hardly ever come again.
func (d *decoder) lines() (lines []string) {
	for more := d.enter('['); more; more = d.another(']') {
		lines = append(lines, d.str())
	}
	return lines
}

// pass takes an object and keeps nothing of it.
func (d *decoder) pass() {
	for more := d.enter('{'); more; more = d.another('}') {
		d.key()
		d.value()
	}
}

// reason takes an object of which only the reason matters.
func (d *decoder) reason() (reason string) {
	for more := d.enter('{'); more; more = d.another('}') {
		if string(d.key()) == "reason" {
			reason = d.str()
		} else {
			d.value()
		}
	}
	return reason
}

// result takes an object with a result, inline or by reference, and a reason.
func (d *decoder) result() (result Payload, reason string) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "result":
			result = Inline(d.raw())
		case "result_ref":
			result = d.blob()
		case "reason":
			reason = d.str()
		default:
			d.value()
		}
	}
	return result, reason
}

// blob takes a reference into the blob store.
func (d *decoder) blob() (p Payload) {
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "blob":
			p.Blob = d.str()
		case "size":
			p.Size = int(d.number(64))
		default:
			d.value()
		}
	}
	return p
}
