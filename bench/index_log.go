package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// indexDefinitions are what the tasks are of whose lists are measured.
var indexDefinitions = []string{
	`{"name":"dummy_task","steps":[{"name":"step-one","handler":"h"},{"name":"step-two","handler":"h"},{"name":"step-three","handler":"h","depends_on":["step-two"]},{"name":"step-four","handler":"h","depends_on":["step-three"]}]}`,
	`{"namespace":"shop","name":"order","index":["customer"],"steps":[{"name":"reserve","handler":"stock"},{"name":"charge","handler":"pay","depends_on":["reserve"]},{"name":"send","handler":"post","depends_on":["charge"]}]}`,
	`{"namespace":"shop","name":"order","version":"2.0.0","index":["customer"],"steps":[{"name":"reserve","handler":"stock"},{"name":"charge","handler":"pay","depends_on":["reserve"]},{"name":"send","handler":"post","depends_on":["charge"]},{"name":"thank","handler":"mail","depends_on":["send"]}]}`,
	`{"namespace":"billing","name":"invoice","steps":[{"name":"print","handler":"print"},{"name":"send","handler":"post","depends_on":["print"]}]}`,
}

// logMaker writes a log as an engine would have: tasks of several definitions, one in fifty failed, one in
// a hundred retried, one in thousand still there.
type logMaker struct {
	store   *memlog.Store
	random  *rand.Rand
	defs    []*domain.Definition
	encoder domain.Encoder
	now     domain.Instant
	last    []uint64
	tasks   int
	events  int
	varied  bool
	keyed   bool                      // the tasks have ids that were made from keys
	sink    func(domain.Commit) error // instead of the store

	straddle int             // of 100 tasks, how many end in the next commit
	rest     []domain.Record // of these
}

const tasksPerCommit = 300

func makeLog(tasks, partitions int, varied bool) (*memlog.Store, int, error) {
	m, err := newLogMaker(partitions, varied)
	if err != nil {
		return nil, 0, err
	}
	if err := m.adopt(partitions); err != nil {
		return nil, 0, err
	}
	for i := 0; i < tasks; i += tasksPerCommit {
		if err := m.commit(i/tasksPerCommit%partitions, partitions, min(tasksPerCommit, tasks-i)); err != nil {
			return nil, 0, err
		}
	}
	return m.store, m.events, nil
}

func newLogMaker(partitions int, varied bool) (*logMaker, error) {
	m := &logMaker{
		store: memlog.New(memlog.Options{Partitions: partitions}), random: rand.New(rand.NewPCG(1, 2)), // #nosec G404 -- a benchmark
		now: domain.InstantOf(time.Now().Add(-24 * time.Hour)), last: make([]uint64, partitions), varied: varied,
	}
	for _, text := range indexDefinitions {
		def, err := domain.ParseDefinition([]byte(text))
		if err != nil {
			return nil, err
		}
		m.defs = append(m.defs, def)
	}
	return m, nil
}

func (m *logMaker) adopt(partitions int) error {
	for p := range partitions {
		m.encoder.Begin(m.now)
		for _, def := range m.defs {
			m.encoder.Add(domain.Record{Event: domain.AdoptDefinition(def), At: m.now})
		}
		if err := m.finish(p); err != nil {
			return err
		}
	}
	return nil
}

// commit writes some tasks.
func (m *logMaker) commit(p, partitions, tasks int) error {
	m.now += domain.Instant(m.random.IntN(20_000))
	m.encoder.Begin(m.now)
	for _, r := range m.rest {
		r.At = m.now
		m.encoder.Add(r)
	}
	m.rest = m.rest[:0]
	for range tasks {
		m.tasks++
		m.task(m.tasks, p, partitions)
	}
	return m.finish(p)
}

func (m *logMaker) finish(p int) error {
	id := fmt.Sprintf("bench-%d-%d", p, m.last[p])
	if m.sink != nil {
		m.last[p]++
		c, err := domain.DecodeCommit(m.encoder.Finish(id), p, m.last[p])
		if err != nil {
			return err
		}
		return m.sink(c)
	}
	done := make(chan error, 1)
	m.store.Log(p).Append(m.last[p], id, m.encoder.Finish(id), func(_ uint64, err error) { done <- err })
	m.last[p]++
	return <-done
}

// id is one of a task that belongs into the partition, with the time in it as the client library makes it.
func (m *logMaker) id(p, partitions int) domain.TaskID {
	for {
		var id domain.TaskID
		ms := int64(m.now) / 1000
		for i := range 6 {
			id[i] = byte(ms >> (40 - 8*i)) // #nosec G115 -- its bytes
		}
		for i := 6; i < len(id); i++ {
			id[i] = byte(m.random.Uint32()) // #nosec G115 -- a random byte
		}
		id[6], id[8] = id[6]&15|0x70, id[8]&63|0x80
		if m.keyed {
			id = domain.KeyedTaskID(domain.DefaultNamespace, "dummy_task", fmt.Sprint(m.random.Uint64()))
		}
		if id.Partition(partitions) == p {
			return id
		}
	}
}

var (
	indexInitiators = []string{"web", "web", "web", "mobile", "cron", "api", "support"}
	indexMessages   = []string{"connection refused by the warehouse", "card declined: insufficient funds", "timeout after 30 s", "address not found", "quota exceeded for account"}
	indexTags       = []string{"gold", "silver", "new", "import", "replay", "holiday"}
)

func (m *logMaker) task(n, p, partitions int) {
	def := m.defs[0]
	create := domain.TaskCreated{Context: domain.Inline(json.RawMessage(`{"dummy":true}`))}
	if m.varied {
		def = m.defs[m.random.IntN(len(m.defs))]
		create.Context = domain.Inline(json.RawMessage(fmt.Sprintf(`{"customer":"c%d","amount":%d}`, m.random.IntN(50_000), n)))
		create.Initiator = indexInitiators[m.random.IntN(len(indexInitiators))]
		if m.random.IntN(5) == 0 {
			create.Tags = []string{indexTags[m.random.IntN(len(indexTags))], fmt.Sprintf("batch-%d", n/5000)}
		}
		if m.random.IntN(10) == 0 {
			create.Correlation = fmt.Sprintf("req-%d", n)
		}
	}
	create.Name, create.Version, create.Definition = def.Name, def.Version, def.Hash()
	if def.Namespace != domain.DefaultNamespace {
		create.Namespace = def.Namespace
	}
	id, at, n, late := m.id(p, partitions), m.now, 0, m.random.IntN(100) < m.straddle
	add := func(e domain.Event) {
		at += domain.Instant(m.random.IntN(3000))
		m.events++
		if n++; late && n > 6 {
			m.rest = append(m.rest, domain.Record{Event: e, Task: id})
			return
		}
		m.encoder.Add(domain.Record{Event: e, At: at, Task: id})
	}
	add(create)
	add(domain.TaskStartRequested{})
	for _, i := range def.Graph().Order() {
		if !m.step(def.Steps[i].Name, add) {
			return
		}
	}
	add(domain.TaskCompleted{})
}

// step runs one; false when the task goes no further.
func (m *logMaker) step(name string, add func(domain.Event)) bool {
	attempt := 1
	if m.varied {
		switch chance := m.random.IntN(3000); {
		case chance < 20: // for good
			add(domain.StepExecutionRequested{Step: name, Attempt: 1})
			message := indexMessages[m.random.IntN(len(indexMessages))] + fmt.Sprintf(" (ref %06d)", m.random.IntN(1_000_000))
			add(domain.StepFailed{Step: name, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent, Message: message}})
			add(domain.TaskFailed{Reason: domain.FailStepsInError, Steps: []string{name}})
			return false
		case chance < 30:
			add(domain.StepExecutionRequested{Step: name, Attempt: 1})
			add(domain.StepFailed{Step: name, Attempt: 1, Error: domain.StepError{Kind: domain.KindError, Message: "try again"}, RetryAt: m.now})
			add(domain.StepRetryRequested{Step: name})
			attempt = 2
		case chance < 31:
			add(domain.StepExecutionRequested{Step: name, Attempt: 1})
			return false
		}
	}
	add(domain.StepExecutionRequested{Step: name, Attempt: attempt})
	add(domain.StepCompleted{Step: name, Attempt: attempt, Result: domain.Inline(json.RawMessage(`{"dummy":true}`))})
	return true
}
