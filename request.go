package tasker

import (
	"encoding/json"

	"github.com/tasker-go/tasker/domain"
)

// request is what one process asks of the owner of a partition, in JSON on tasker.cmd.<pp> (DESIGN 6).
type request struct {
	Op         string          `json:"op"`
	Task       domain.TaskID   `json:"task,omitzero"`
	Step       string          `json:"step,omitempty"` // that is to be explained
	Submission *Submission     `json:"submission,omitempty"`
	Identity   string          `json:"identity,omitempty"` // what the submission's id rests on; see router.identify
	Verb       *verb           `json:"verb,omitempty"`
	Fork       *forkRequest    `json:"fork,omitempty"`
	At         Position        `json:"at,omitzero"` // an event of the task; zero = now
	Filter     *Filter         `json:"filter,omitempty"`
	Stuck      *StuckQuery     `json:"stuck,omitempty"`
	Definition json.RawMessage `json:"definition,omitempty"`
	Replace    bool            `json:"replace,omitempty"`
	Prune      *pruneRequest   `json:"prune,omitempty"`
	Skip       *skipRequest    `json:"skip,omitempty"`
	Part       *partRequest    `json:"part,omitempty"`
	Index      *indexRequest   `json:"index,omitempty"`
	Partition  int             `json:"partition,omitempty"`
}

// The operations.
const (
	opSubmit = "submit"
	opVerb   = "verb"
	opTask   = "task"
	opTasks  = "tasks"
	opWait   = "wait"
	opApply  = "apply"
	opPrune  = "prune"
	opSkip   = "skip"
	opStatus = "status"
	opPart   = "part"
	opIndex  = "index"

	opExplain = "explain"
	opFork    = "fork"
	opStand   = "stand"
	opTaskAt  = "task_at"
	opStuck   = "stuck"
)

// response answers a request. Exactly one field is set, next to Error; Parts stands for an answer that is too large.
type response struct {
	Error   *wireError   `json:"error,omitempty"`
	Receipt *Receipt     `json:"receipt,omitempty"`
	Verb    *VerbReceipt `json:"verb,omitempty"`
	Task    *Task        `json:"task,omitempty"`
	Tasks   []Task       `json:"tasks,omitempty"`
	Result  *Result      `json:"result,omitempty"`
	Pruned  *PruneReport `json:"pruned,omitempty"`
	Status  *engineView  `json:"status,omitempty"`
	Parts   *partsView   `json:"parts,omitempty"`
	Part    []byte       `json:"part,omitempty"`
	Index   *indexAnswer `json:"index,omitempty"`

	Explanation *Explanation `json:"explanation,omitempty"`
	Stand       *standView   `json:"stand,omitempty"`
	Stuck       *StuckPage   `json:"stuck,omitempty"`
}

type pruneRequest struct {
	OlderThan int64 `json:"older_than_ns"`
	DryRun    bool  `json:"dry_run,omitempty"`
}

type skipRequest struct {
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
	By       string `json:"by,omitempty"`
}
