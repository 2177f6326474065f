package httpapi

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

func TestAHistoryIsReadInParts(t *testing.T) {
	w := serve(t, start(t), Options{})
	_, path := w.submit("fails", "", map[string]any{"n": 1})
	w.until(path, domain.Error)
	whole := read[History](t, w.do(http.MethodGet, path+"/history", nil), http.StatusOK)
	if whole.Next != "" || len(whole.Executions) == 0 || len(whole.Events) < 5 {
		t.Fatalf("%+v", whole)
	}
	var ids, parts []string
	for _, e := range whole.Events {
		ids = append(ids, e.ID)
	}
	query := "?limit=2"
	for query != "" {
		page := read[History](t, w.do(http.MethodGet, path+"/history"+query, nil), http.StatusOK)
		if len(page.Events) > 2 || len(page.Executions) != 0 || page.Task != whole.Task || (page.Next == "") != (len(parts)+len(page.Events) == len(ids)) {
			t.Fatalf("%s: %+v", query, page)
		}
		for _, e := range page.Events {
			parts = append(parts, e.ID)
		}
		if query = ""; page.Next != "" {
			query = "?limit=2&after=" + page.Next
		}
	}
	if !slices.Equal(ids, parts) {
		t.Errorf("%v in parts: %v", ids, parts)
	}
	last := ids[len(ids)-1]
	if page := read[History](t, w.do(http.MethodGet, path+"/history?after="+last, nil), http.StatusOK); page.Events == nil || len(page.Events) != 0 || page.Next != "" {
		t.Errorf("behind the end: %+v", page)
	}
	elsewhere := "01" + last[2:]
	if last[:2] == "01" {
		elsewhere = "00" + last[2:]
	}
	for query, status := range map[string]int{"after=" + elsewhere: 422, "after=soon": 422, "limit=-1": 422, "limit=1000000": 422} {
		if p := w.do(http.MethodGet, path+"/history?"+query, nil).problem(t); p.Status != status || p.Hint == "" {
			t.Errorf("%s: %+v", query, p)
		}
	}
}
