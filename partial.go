package tasker

import (
	"errors"
	"fmt"
	"strings"
)

// PartialError: some partitions could not be asked, for instance because they are closed or nobody owns them. What the
// others answered comes beside it. errors.Is and errors.As look into all of them.
type PartialError struct {
	Failed     []PartitionError // by partition
	Partitions int              // how many there are
}

// PartitionError is why one partition could not be asked.
type PartitionError struct {
	Partition int
	Err       error
}

// Error has one line per partition.
func (e *PartialError) Error() string {
	lines := make([]string, len(e.Failed))
	for i := range e.Failed {
		lines[i] = e.Failed[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the errors of the partitions.
func (e *PartialError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i := range e.Failed {
		errs[i] = e.Failed[i].Err
	}
	return errs
}

// Nothing reports whether no partition could be asked.
func (e *PartialError) Nothing() bool { return len(e.Failed) == e.Partitions }

func (e *PartitionError) Error() string {
	if text := e.Err.Error(); strings.HasPrefix(text, e.name()) {
		return text
	}
	return e.name() + ": " + e.Err.Error()
}

func (e *PartitionError) Unwrap() error { return e.Err }

func (e *PartitionError) name() string { return fmt.Sprintf("partition %02d", e.Partition) }

// partial gathers the errors of partitions.
type partial []PartitionError

func (f *partial) add(partition int, err error) { *f = append(*f, PartitionError{partition, err}) }

// err is nil without errors, and a single error when all partitions say the same: then it is not about partitions.
func (f partial) err(partitions int) error {
	if len(f) == 0 {
		return nil
	}
	first, same := strings.TrimPrefix(f[0].Err.Error(), f[0].name()), len(f) == partitions
	for _, e := range f {
		same = same && strings.TrimPrefix(e.Err.Error(), e.name()) == first
	}
	switch {
	case same && errors.Is(f[0].Err, ErrNoOwner):
		return ErrNoOwner // no engine runs
	case same:
		return f[0].Err
	}
	return &PartialError{Failed: f, Partitions: partitions}
}
