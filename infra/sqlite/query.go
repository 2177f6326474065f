package sqlite

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Limits of queries.
const (
	maxWord  = 512 // bytes of a name, a tag, a value ...
	maxTexts = 16  // tags, fields, and words of a text
	maxAfter = 256 // bytes
)

// order is what a list is sorted by.
type order struct {
	column, index, only string
	segments            bool // the index has them
}

var orders = map[index.Sort]order{
	index.SortCreated:  {"created", "task_created", "", false},
	index.SortUpdated:  {"updated", "task_updated", "", false},
	index.SortEnded:    {"ended", "task_ended", " AND ended > 0", false},
	index.SortDuration: {"duration", "task_duration", " AND ended > 0", true},
	index.SortRetries:  {"retries", "task_retries", " AND retries > 0", false},
}

var (
	bySlowest = order{"slowest", "task_slowest", " AND ended > 0", true}
	byTries   = order{"tries", "task_tries", " AND tries > 0", false}
)

func wrong(field, format string, args ...any) error {
	return &index.QueryError{Field: field, Why: fmt.Sprintf(format, args...)}
}

// checkTasks fills in defaults and refuses what cannot be answered.
func checkTasks(q *index.TaskQuery) error {
	if q.Sort == "" {
		q.Sort = index.SortCreated
	}
	if _, ok := orders[q.Sort]; !ok {
		return wrong("sort", "%q: want created, updated, ended, duration or retries", cut(string(q.Sort)))
	}
	if err := checkLimit(&q.Limit); err != nil {
		return err
	}
	if err := checkStates(q.States); err != nil {
		return err
	}
	if err := errorOf(checkSpaces(q.Namespaces), checkWords(map[string]string{
		"name": q.Name, "version": q.Version, "waiting": string(q.Waiting), "initiator": q.Initiator,
		"source_system": q.SourceSystem, "correlation": q.Correlation, "text": q.Text,
	})); err != nil {
		return err
	}
	if len(q.Tags) > maxTexts || len(q.Fields) > maxTexts {
		return wrong("tags", "%d tags and %d fields: at most %d of each", len(q.Tags), len(q.Fields), maxTexts)
	}
	for _, tag := range q.Tags {
		if err := checkWords(map[string]string{"tags": tag}); err != nil {
			return err
		}
	}
	fields := make(map[string]string, len(q.Fields))
	for name, value := range q.Fields {
		if err := checkWords(map[string]string{"fields": name}); err != nil {
			return err
		}
		fields[name] = index.CutField(value)
	}
	q.Fields = fields
	if len(words(q.Text)) > maxTexts {
		return wrong("text", "it has more than %d words", maxTexts)
	}
	if q.Text != "" && len(words(q.Text)) == 0 {
		return wrong("text", "%q has no letter and no digit to search for", cut(q.Text))
	}
	return errorOf(checkTimes("created_before", q.CreatedAfter, q.CreatedBefore), checkTimes("ended_before", q.EndedAfter, q.EndedBefore))
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkSteps(q *index.StepQuery) error {
	return errorOf(checkLimit(&q.Limit), checkStates(q.States), checkSpaces(q.Namespaces), checkWords(map[string]string{
		"name": q.Name, "version": q.Version, "step": q.Step, "handler": q.Handler, "error_kind": string(q.ErrorKind),
	}))
}

func checkLimit(limit *int) error {
	if *limit == 0 {
		*limit = index.DefaultLimit
	}
	if *limit < 1 || *limit > index.MaxLimit {
		return wrong("limit", "%d: want 1 to %d", *limit, index.MaxLimit)
	}
	return nil
}

func checkStates(states []domain.State) error {
	for _, s := range states {
		if !slices.Contains(domain.States, s) {
			return wrong("states", "%d is no state", s)
		}
	}
	return nil
}

func checkSpaces(namespaces []string) error {
	if len(namespaces) > index.MaxNamespaces {
		return wrong("namespace", "%d of them: at most %d", len(namespaces), index.MaxNamespaces)
	}
	for _, n := range namespaces {
		if err := checkWords(map[string]string{"namespace": n}); err != nil {
			return err
		}
	}
	return nil
}

func checkWords(texts map[string]string) error {
	for field, text := range texts {
		switch {
		case len(text) > maxWord:
			return wrong(field, "%d bytes: at most %d", len(text), maxWord)
		case !utf8.ValidString(text):
			return wrong(field, "%q is not UTF-8", cut(text))
		}
	}
	return nil
}

// Times of a query are those that an instant can have.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

func checkTimes(field string, times ...time.Time) error {
	for _, t := range times {
		if !t.IsZero() && (t.Before(firstTime) || t.After(lastTime)) {
			return wrong(field, "%s: want a time in the years 1 to 9999", t)
		}
	}
	return nil
}

// cut is as much of a text as fits into an error.
func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// words are those of a text as the tokenizer finds them.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Co, r) })
}

// match is a text as a query of the full-text index: all words, the last one perhaps only begun.
func match(text string) string {
	list := words(text)
	for i, word := range list {
		list[i] = `"` + word + `"`
	}
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, " AND ") + "*"
}

// place is where a page ended.
type place struct {
	Query uint64 `json:"q"` // hash of what was asked for
	Value int64  `json:"v"` // that it was sorted by
	Num   int64  `json:"n"` // of the task
	Step  int    `json:"s,omitempty"`
}

func (p place) token() string {
	text, _ := json.Marshal(p) // it has only numbers
	return base64.RawURLEncoding.EncodeToString(text)
}

// parsePlace reads After; nil when it is "".
func parsePlace(after string, query uint64) (*place, error) {
	if after == "" {
		return nil, nil
	}
	const hint = "give the next of a page as it was, or leave it out for the first page"
	var p place
	text, err := base64.RawURLEncoding.DecodeString(after)
	if err != nil || len(after) > maxAfter || json.Unmarshal(text, &p) != nil || p.Step < 0 {
		return nil, wrong("after", "%q was not made here: %s", cut(after), hint)
	}
	if p.Query != query {
		return nil, wrong("after", "it belongs to another query: keep all filters and the sort while paging, or leave it out for the first page")
	}
	return &p, nil
}

// identity is a hash of a query; what does not change the list is left out by the caller.
func identity(q any) uint64 {
	text, _ := json.Marshal(q) // texts, numbers and times within the limits
	h := fnv.New64a()
	_, _ = h.Write(text)
	return h.Sum64()
}
