package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// operation is one of the description's.
type operation struct {
	method, path string // path with parameters
	id           string
	hasBody      bool
	needsBody    bool
	description  string
}

func operations(t testing.TB) []operation {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Description string
			RequestBody *struct{ Required bool }
		}
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, methods := range doc.Paths {
		for method, op := range methods {
			o := operation{method: strings.ToUpper(method), path: path, id: op.OperationID, description: op.Description}
			if op.RequestBody != nil {
				o.hasBody, o.needsBody = true, op.RequestBody.Required
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// at fills in the parameters of a path.
func (o *operation) at(id string) string {
	return strings.NewReplacer("{id}", id, "{step}", "pay", "{namespace}", "default", "{name}", "echo", "{sequence}", "1").Replace(o.path)
}

// url is a path that the operation takes in a request that asks little.
func (o *operation) url(id string) string {
	if o.id == "waitForTask" {
		return o.at(id) + "?timeout=0s"
	}
	return o.at(id)
}

const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"

// Every operation is tried with good input by name; a new one without a try fails here.
func TestEveryOperationIsTried(t *testing.T) {
	ops := operations(t)
	for _, o := range ops {
		if good[o.id] == nil {
			t.Errorf("%s %s (%s) is not tried with good input", o.method, o.path, o.id)
		}
	}
	if len(ops) < 35 {
		t.Errorf("%d operations", len(ops))
	}
	engine, tried := start(t), map[uintptr]bool{}
	for name, try := range good {
		if same := reflect.ValueOf(try).Pointer(); tried[same] {
			continue
		}
		tried[reflect.ValueOf(try).Pointer()] = true
		t.Run(name, func(t *testing.T) {
			if !slices.ContainsFunc(ops, func(o operation) bool { return o.id == name }) {
				t.Fatal("there is no such operation")
			}
			try(t, serve(t, engine, Options{Auth: everybody}).as("all"))
		})
	}
}

// What is wrong with a request is the same for all operations.
func TestEveryOperationRefusesWhatIsWrong(t *testing.T) {
	w := serve(t, start(t), Options{Auth: everybody, MaxBody: 1100, MaxPayloadBody: 1200, MaxQuery: 300})
	root := w.as("all")
	_, path := root.submit("fails", "", nil)
	root.until(path, domain.Error)
	id := path[strings.LastIndex(path, "/")+1:]
	for _, o := range operations(t) {
		t.Run(o.id, func(t *testing.T) {
			refused := func(what string, w *world, status int, code Code, method, url string, body any, headers ...string) reply {
				t.Helper()
				r := w.do(method, url, body, headers...)
				if r.Status != status || r.problem(t).Code != code {
					t.Errorf("%s: %d %s, want %d %s", what, r.Status, r.Text, status, code)
				}
				return r
			}
			url, json := o.at(id), `{}`
			if r := refused("no token", w, 401, CodeUnauthorized, o.method, url, json); !strings.HasPrefix(r.Header.Get("Www-Authenticate"), "Bearer") {
				t.Errorf("no challenge: %v", r.Header)
			}
			refused("an unknown token", w.as("x"), 401, CodeUnauthorized, o.method, url, json)
			if r := refused("no answer to who calls", w.as("broken"), 503, CodeAuthUnavailable, o.method, url, json); strings.Contains(r.Text, "secret") ||
				r.Header.Get("Retry-After") != "7" || !strings.Contains(r.Text, "bring the issuer back") {
				t.Errorf("%v %s", r.Header, r.Text)
			}
			for token, who := range everybody {
				for _, scope := range Scopes() {
					if strings.Contains(o.description, "`"+string(scope)+"`") && !who.May(scope) {
						refused("without "+string(scope), w.as(token), 403, CodeForbidden, o.method, url, json)
					}
				}
			}
			if strings.Contains(o.description, "Not for tokens that are limited") {
				refused("limited", w.as("shop"), 403, CodeForbidden, o.method, url, json)
			}
			if strings.Contains(o.path, "{id}") {
				body := any(nil)
				if o.id == "annotateTask" {
					body = map[string]any{"kind": "k", "annotation": 1}
				}
				for _, other := range []string{nobody, id} { // one that is not there, and one of another namespace
					headers := []string{headerRequest + ": 1"}
					refused("another's task", w.as("shop"), 404, CodeTaskNotFound, o.method, o.url(other), body, headers...)
				}
				refused("no task", root, 404, CodeTaskNotFound, o.method, o.url(nobody), body, headerRequest+": 1")
				refused("no id", root, 422, CodeInvalid, o.method, o.at("1%27%20OR%201=1"), body, headerRequest+": 1")
			}
			if r := refused("another method", root, 405, CodeMethod, http.MethodPatch, url, json); !strings.Contains(r.Header.Get("Allow"), o.method) {
				t.Errorf("Allow: %q", r.Header.Get("Allow"))
			}
			refused("an unknown parameter", root, 422, CodeInvalid, o.method, url+"?nmae=x", json)
			refused("a long query", root, 414, CodeTooLarge, o.method, url+"?name="+strings.Repeat("x", 300), json)
			if o.id != "getMetrics" && o.id != "streamEvents" {
				refused("CSV", root, 406, CodeNotAcceptable, o.method, url, json, "Accept: text/csv, application/json;q=0")
			}
			if o.method == http.MethodGet {
				return
			}
			refused("a form", root, 415, CodeMediaType, o.method, url, "a=b", "Content-Type: application/x-www-form-urlencoded")
			refused("text", root, 415, CodeMediaType, o.method, url, json, "Content-Type: text/plain")
			refused("another charset", root, 415, CodeMediaType, o.method, url, json, "Content-Type: application/json; charset=utf-16")
			refused("no type", root, 415, CodeMediaType, o.method, url, nil, "Content-Type: ")
			refused("an encoding", root, 415, CodeMediaType, o.method, url, json, "Content-Encoding: gzip")
			refused("too large", root, 413, CodeTooLarge, o.method, url, `{"reason":"`+strings.Repeat("x", 1300)+`"}`)
			refused("no JSON", root, 400, CodeInvalid, o.method, url, `{"reason":`)
			refused("a key twice", root, 400, CodeInvalid, o.method, url, `{"reason":"a","reason":"b"}`)
			refused("no UTF-8", root, 400, CodeInvalid, o.method, url, "{\"reason\":\"\xff\"}")
			refused("deep", root, 400, CodeInvalid, o.method, url, strings.Repeat("[", 501)+strings.Repeat("]", 501))
			if o.hasBody {
				refused("an unknown field", root, 422, CodeInvalid, o.method, url, `{"raeson":"x"}`)
				refused("a list", root, 422, CodeInvalid, o.method, url, `[]`)
			}
			if o.needsBody {
				refused("no body", root, 400, CodeInvalid, o.method, url, nil, "Content-Type: ", headerRequest+": 1")
			}
		})
	}
}

var good = map[string]func(t *testing.T, w *world){
	"getMe": func(t *testing.T, w *world) {
		me := read[Me](t, w.as("shop").do("GET", "/api/v1/me", nil), 200)
		if me.Name != "shopkeeper" || len(me.Scopes) != 4 || me.Namespaces[0] != "shop" || me.Auth != AuthToken || me.Version == "" {
			t.Errorf("%+v", me)
		}
	},
	"submitTask":     trySubmit,
	"getTask":        tryTask,
	"forkTask":       tryFork,
	"getTaskHistory": tryTask,
	"explainTask":    tryTask,
	"listTaskSteps":  tryTask,
	"getTaskStep":    tryTask,
	"waitForTask":    tryWait,
	"explainStep": func(t *testing.T, w *world) {
		_, path := w.submit("hangs", "", nil)
		w.until(path, domain.InProgress)
		x := read[tasker.Explanation](t, w.do("GET", path+"/steps/after/explain", nil), 200)
		if x.Reason != domain.ReasonParents || x.Step != "after" {
			t.Errorf("%+v", x)
		}
		if p := w.do("GET", path+"/steps/nowhere/explain", nil).problem(t); p.Code != CodeStepNotFound || p.Status != 404 {
			t.Errorf("%+v", p)
		}
	},
	"getCriticalPath": func(t *testing.T, w *world) {
		_, path := w.submit("echo", "", nil)
		w.until(path, domain.Complete)
		c := read[tasker.CriticalPath](t, w.do("GET", path+"/critical-path", nil), 200)
		if len(c.Steps) != 2 || c.Steps[0].Step != "one" {
			t.Errorf("%+v", c)
		}
	},
	"cancelTask": tryVerbs, "retryTask": tryVerbs, "resolveTask": tryVerbs, "pauseTask": tryVerbs, "resumeTask": tryVerbs,
	"annotateTask": tryAnnotate,
	"retryStep":    tryStepVerbs, "resolveStep": tryStepVerbs, "completeStep": tryStepVerbs, "cancelStep": tryStepVerbs,
	"listDefinitions": tryDefinitions, "getDefinition": tryDefinitions, "applyDefinition": tryDefinitions, "validateDefinition": tryDefinitions,
	"listDeadLetters": tryLetters, "getDeadLetter": tryLetters, "requeueDeadLetter": tryLetters, "dropDeadLetter": tryLetters,
	"listSubscribers": trySubscribers, "forgetSubscriber": trySubscribers,
	"getStatus": tryStatus, "getMetrics": tryMetrics, "getIndex": tryIndex,
	"listTasks": tryIndex, "countTasks": tryIndex, "listSteps": tryIndex, "getAnalytics": tryIndex,
	"listStuck": tryStuck, "streamEvents": tryEvents,
}
