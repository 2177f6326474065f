package domain

import "slices"

//go:generate go run ../internal/eventdoc -root ..

// Entry describes one type of fact. docs/events.md is made from the entries, the declarations in event.go and the
// fixtures in testdata/events.
type Entry struct {
	Type    EventType
	Version int      // that this package writes; it reads all from 1
	Sample  Event    // the zero value
	About   string   // one sentence
	Appends []string // whose commands lead to it
	Reacts  []string // who takes part in the commit, or acts after it, because of it
}

// Who appends and who reacts: the words of DESIGN 2 and 5.
const (
	whoCoordinator = "coordinator"
	whoSubmitter   = "submitter"
	whoOperator    = "operator"
	whoHandler     = "handler"
	whoDiscoverer  = "discoverer"
	whoFinalizer   = "finalizer"
	whoReenqueuer  = "reenqueuer"
	whoExecutor    = "executor"
	whoIndex       = "index"
)

// catalogue lists the facts in the order of their declaration.
var catalogue = []Entry{
	{PartitionOpenedType, 1, PartitionOpened{}, "A writer took the partition over.",
		[]string{whoCoordinator}, []string{whoCoordinator}},
	{PartitionSkippedType, 1, PartitionSkipped{}, "Readers pass over a message that cannot be read.",
		[]string{whoOperator}, []string{whoCoordinator}},
	{DefinitionAdoptedType, 1, DefinitionAdopted{}, "The partition holds a definition that its tasks use.",
		[]string{whoCoordinator}, []string{whoCoordinator, whoIndex}},

	{TaskCreatedType, 1, TaskCreated{}, "A task exists; it and all its steps are pending.",
		[]string{whoSubmitter}, []string{whoDiscoverer, whoFinalizer, whoReenqueuer, whoIndex}},
	{TaskStartRequestedType, 1, TaskStartRequested{}, "The task went from pending to in_progress.",
		[]string{whoFinalizer}, []string{whoIndex}},
	{TaskReenqueuedType, 1, TaskReenqueued{}, "The task went back to pending, for something that has no date.",
		[]string{whoFinalizer}, []string{whoIndex}},
	{TaskDelayedType, 1, TaskDelayed{}, "The task went back to pending, until a date.",
		[]string{whoFinalizer}, []string{whoReenqueuer, whoIndex}},
	{TaskCompletedType, 1, TaskCompleted{}, "The task ended well.",
		[]string{whoFinalizer}, []string{whoExecutor, whoIndex}},
	{TaskFailedType, 1, TaskFailed{}, "The task stopped in error, until an operator decides.",
		[]string{whoFinalizer, whoReenqueuer}, []string{whoExecutor, whoIndex}},
	{TaskRetryRequestedType, 1, TaskRetryRequested{}, "A failed task was reopened.",
		[]string{whoOperator}, []string{whoDiscoverer, whoFinalizer, whoReenqueuer, whoIndex}},
	{TaskCancelledType, 1, TaskCancelled{}, "An operator ended the task.",
		[]string{whoOperator}, []string{whoExecutor, whoIndex}},
	{TaskResolvedManuallyType, 1, TaskResolvedManually{}, "An operator declared a failed task settled.",
		[]string{whoOperator}, []string{whoExecutor, whoIndex}},
	{TaskPausedType, 1, TaskPaused{}, "The task starts no steps until it is resumed.",
		[]string{whoOperator}, []string{whoFinalizer, whoIndex}},
	{TaskResumedType, 1, TaskResumed{}, "The pause of the task is over.",
		[]string{whoOperator}, []string{whoDiscoverer, whoFinalizer, whoReenqueuer, whoIndex}},
	{TaskAnnotatedType, 1, TaskAnnotated{}, "A note was attached to the task.",
		[]string{whoHandler}, []string{whoIndex}},
	{TaskExpiredType, 1, TaskExpired{}, "A failed task was not reopened within error_retention and is history now.",
		[]string{whoCoordinator}, []string{whoIndex}},

	{StepInheritedType, 1, StepInherited{}, "The step of a fork is over, as it was in the task that was forked.",
		[]string{whoOperator}, []string{whoDiscoverer, whoFinalizer, whoIndex}},
	{StepExecutionRequestedType, 1, StepExecutionRequested{}, "The step was handed to its handler.",
		[]string{whoDiscoverer}, []string{whoExecutor, whoFinalizer, whoReenqueuer, whoIndex}},
	{StepCompletedType, 1, StepCompleted{}, "The step ended well.",
		[]string{whoHandler, whoOperator, whoReenqueuer}, []string{whoDiscoverer, whoFinalizer, whoIndex}},
	{StepFailedType, 1, StepFailed{}, "An execution of the step ended badly.",
		[]string{whoHandler, whoExecutor, whoCoordinator, whoReenqueuer},
		[]string{whoDiscoverer, whoFinalizer, whoReenqueuer, whoIndex}},
	{StepRetryRequestedType, 1, StepRetryRequested{}, "The step went from error back to pending.",
		[]string{whoReenqueuer, whoOperator}, []string{whoDiscoverer, whoFinalizer, whoIndex}},
	{StepCancelledType, 1, StepCancelled{}, "The step will not run any more.",
		[]string{whoOperator}, []string{whoExecutor, whoFinalizer, whoIndex}},
	{StepResolvedManuallyType, 1, StepResolvedManually{}, "An operator declared the step settled.",
		[]string{whoOperator}, []string{whoDiscoverer, whoFinalizer, whoIndex}},
	{StepSkippedType, 1, StepSkipped{}, "The step is complete without having run.",
		[]string{whoDiscoverer}, []string{whoDiscoverer, whoFinalizer, whoIndex}},
	{StepCheckpointedType, 1, StepCheckpointed{}, "A running step stored how far it has come.",
		[]string{whoHandler}, []string{whoIndex}},
	{StepProgressedType, 1, StepProgressed{}, "A running step said how far it has come.",
		[]string{whoHandler}, []string{whoIndex}},
	{StepLogAppendedType, 1, StepLogAppended{}, "A running step wrote lines for people.",
		[]string{whoHandler}, []string{whoIndex}},
}

// Catalogue lists every fact that this version writes, in the order of declaration. The slice is the caller's.
func Catalogue() []Entry {
	list := slices.Clone(catalogue)
	for i := range list {
		list[i].Appends, list[i].Reacts = slices.Clone(list[i].Appends), slices.Clone(list[i].Reacts)
	}
	return list
}

// Types lists the types of the catalogue, in its order.
func Types() []EventType {
	types := make([]EventType, len(catalogue))
	for i, entry := range catalogue {
		types[i] = entry.Type
	}
	return types
}

// TypesOf gives the types of the events, each once, in the order of the arguments. Subscribers declare with it what
// they react to.
func TypesOf(events ...Event) []EventType {
	var types []EventType
	for _, ev := range events {
		if t := ev.Type(); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types
}

// KnownType reports whether the log of this version can hold such an event.
func KnownType(t EventType) bool {
	if name, custom := CustomName(t); custom {
		return name != ""
	}
	return slices.ContainsFunc(catalogue, func(entry Entry) bool { return entry.Type == t })
}
