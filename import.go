package tasker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tasker-go/tasker/domain"
)

// ImportOptions say how a log is imported.
type ImportOptions struct {
	// File is the name of the file, for messages.
	File string
	// Continue lets live tasks go on in the new log. Without it a log with live tasks is refused: when the log that it was
	// exported from still runs, every one of them would be run twice.
	Continue bool
}

// ImportReport says what was imported.
type ImportReport struct {
	From       string `json:"from"` // data id of the log that was exported
	Log        string `json:"log"`  // data id of the log that it has become
	Partitions int    `json:"partitions"`
	Messages   int    `json:"messages"`
	Events     int    `json:"events"`
	Live       int    `json:"live"`   // tasks that go on when an engine opens the log
	Failed     int    `json:"failed"` // tasks that can be retried
	Blobs      int    `json:"blobs"`
	Snapshots  int    `json:"snapshots"`
}

// Import makes a log of an export, of a whole log or of one task (Export; the format is described in export.go), where there is none: what
// config names is created with as many partitions as the export has, or must be empty. It folds to the same state, and
// every message has the position that it had, so the ids of events stay. What changes: the data id, because the two logs
// part from here on, so cursors of the old one are refused; the times at which messages were stored, which retention goes
// by; and subscribers start anew, because cursors and dead letters are not exported. Running steps are lost with the process
// that ran them, as after a crash.
//
// The export of one task becomes a log that holds this task and its definition: it folds to the same state, with events under
// other positions, because nothing of what was stored between them is there. A task cannot be imported into a log that has others.
//
// The file is read twice: nothing is stored before it has been checked from beginning to end, folded, and found whole. An
// import that breaks off afterwards leaves a log that is not complete; the error says so, and it has to be removed.
//
// Errors: *ImportError names the line; *LogNotEmptyError; *LiveTasksError; domain.ErrLeaseTaken when an engine runs on the
// log; those of New.
func Import(ctx context.Context, config Config, file io.ReadSeeker, o ImportOptions) (ImportReport, error) {
	report, err := importLog(ctx, config, file, o)
	if err != nil {
		return report, fmt.Errorf("import: %w", err)
	}
	return report, nil
}

func importLog(ctx context.Context, config Config, file io.ReadSeeker, o ImportOptions) (ImportReport, error) {
	if one, err := isTaskExport(o.File, file); err != nil {
		return ImportReport{}, err
	} else if one {
		if file, err = logOfTask(o.File, file); err != nil {
			return ImportReport{}, err
		}
		o.File += " (as a log)" // whose lines are others
	}
	check := newImportCheck(o.File)
	if err := check.run(ctx, file); err != nil {
		return ImportReport{}, err
	}
	if check.report.Live > 0 && !o.Continue {
		return check.report, &LiveTasksError{Live: check.report.Live}
	}
	switch {
	case config.Partitions == 0:
		config.Partitions = check.header.Partitions
	case config.Partitions != check.header.Partitions:
		return check.report, partitionsDiffer(config.Partitions, check.header.Partitions)
	}
	if err := config.defaults(); err != nil {
		return check.report, err
	}
	store, closeLog, err := config.open(ctx, false)
	if err != nil {
		return check.report, err
	}
	defer closeLog()
	w := &importWriter{store: store, check: check, holder: config.Name, clock: config.Clock, logger: config.Logger}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return check.report, err
	}
	err = w.run(ctx, file)
	check.report.Log = store.Data().ID
	return check.report, err
}

func partitionsDiffer(log, export int) error {
	return fmt.Errorf("the log has %d partitions and the export %d: tasks would be looked for where they are not. Import it into a new log",
		log, export)
}

// ImportError: the file is not what Export wrote.
type ImportError struct {
	File string // as ImportOptions names it
	Line int    // from 1
	Err  error
}

func (e *ImportError) Error() string {
	file := e.File
	if file == "" {
		file = "line "
	} else {
		file += ":"
	}
	return fmt.Sprintf("%s%d: %v", file, e.Line, e.Err)
}

func (e *ImportError) Unwrap() error { return e.Err }

// Reasons of an ImportError, to compare with errors.Is.
var (
	// ErrExportTorn: the file ends before its end line.
	ErrExportTorn = errors.New("the file ends here without its last line: it is torn, export again")
	// ErrExportEdited: the sum of a line is not that of the line, after the lines before it.
	ErrExportEdited = errors.New("this is not what was exported: the line was edited, doubled, put in another place, or follows one that was left out")
	// ErrNotAnExport: the first line is not that of an export.
	ErrNotAnExport = errors.New("this is not an export of tasker")
)

// LogNotEmptyError: something is stored already in the log to import into.
type LogNotEmptyError struct {
	Log       string // data id
	Partition int
	Last      uint64
}

func (e *LogNotEmptyError) Error() string {
	return fmt.Sprintf("log %s is not empty: partition %02d has stored %d messages. Import into a new data directory, or under another prefix",
		e.Log, e.Partition, e.Last)
}

// LiveTasksError: tasks of the export are live, and ImportOptions.Continue is not set.
type LiveTasksError struct{ Live int }

func (e *LiveTasksError) Error() string {
	return fmt.Sprintf("the log has live tasks (%d), which would go on in the new one: make sure that nothing runs them where they come from, and say so",
		e.Live)
}

// beginner is a log that can begin with another sequence than 1, while it is empty.
type beginner interface {
	Begin(ctx context.Context, first uint64) error
}

var errNoBeginner = errors.New("this store cannot hold a log whose beginning was trimmed")

func begin(ctx context.Context, log domain.Log, first uint64) error {
	b, ok := log.(beginner)
	if !ok {
		return errNoBeginner
	}
	return b.Begin(ctx, first)
}
