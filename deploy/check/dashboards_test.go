package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// dashboard is as much of Grafana's model as matters here.
type dashboard struct {
	file       string
	UID, Title string
	Tags       []string
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct {
	Name, Type string
	Query      any
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []target
}

type target struct{ RefID, Expr, LegendFormat string }

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "grafana", "dashboards", "*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v %v", files, err)
	}
	var all []dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: filepath.Base(file)}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// documented are the metrics of docs/metrics.md, by name, with their labels.
type documented map[string][]string

var metricName = regexp.MustCompile(`\btasker_[a-z0-9_]+\b`)

func metrics(t *testing.T) documented {
	t.Helper()
	found := documented{}
	for line := range strings.Lines(string(read(t, "docs/metrics.md"))) {
		if cells := strings.Split(line, "|"); len(cells) > 5 && strings.HasPrefix(cells[1], " `tasker_") {
			name := strings.Trim(cells[1], " `")
			found[name] = strings.Split(strings.Trim(cells[4], " –"), ", ")
			if strings.TrimSpace(cells[2]) == "histogram" {
				for _, part := range []string{"_bucket", "_sum", "_count"} {
					found[name+part] = found[name]
				}
				delete(found, name)
			}
		}
	}
	if len(found) < 10 {
		t.Fatalf("docs/metrics.md lists %d metrics", len(found))
	}
	return found
}

func (d documented) has(name string) bool { _, ok := d[name]; return ok }

// units are Grafana's names of the ones used.
var units = []string{"short", "s", "bytes", "ops", "percentunit"}

func TestDashboardsAreReadable(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range dashboards(t) {
		if d.UID == "" || d.Title == "" || uids[d.UID] || !slices.Contains(d.Tags, "tasker") {
			t.Errorf("%s: uid %q (there before: %t), title %q, tags %v", d.file, d.UID, uids[d.UID], d.Title, d.Tags)
		}
		uids[d.UID] = true
		ids, titles, taken := map[int]bool{}, map[string]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || titles[p.Title] || p.Title == "" {
				t.Errorf("%s: panel %d %q is there twice, or has no title", d.file, p.ID, p.Title)
			}
			ids[p.ID], titles[p.Title] = true, true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %q lies over %q, or outside", d.file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if len(p.Description) < 20 || !slices.Contains(units, p.FieldConfig.Defaults.Unit) || len(p.Targets) == 0 {
				t.Errorf("%s: %q: description %q, unit %q, %d queries", d.file, p.Title, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets))
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if refs[q.RefID] || len(p.Targets) > 1 && q.LegendFormat == "" {
					t.Errorf("%s: %q: query %s has its letter twice, or no legend beside others", d.file, p.Title, q.RefID)
				}
				refs[q.RefID] = true
			}
		}
	}
}

func TestDashboardsAskForMetricsLabelsAndVariablesThatExist(t *testing.T) {
	known := metrics(t)
	used := map[string]bool{}
	for _, d := range dashboards(t) {
		variables := []string{"__rate_interval"}
		for _, v := range d.Templating.List {
			variables = append(variables, v.Name)
		}
		for _, v := range d.Templating.List {
			for _, name := range metricName.FindAllString(fmt.Sprint(v.Query), -1) {
				if !known.has(name) {
					t.Errorf("%s: variable %s asks for %s, which does not exist", d.file, v.Name, name)
				}
			}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				for _, v := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
					if !slices.Contains(variables, v[1]) {
						t.Errorf("%s: %q: there is no variable %s", d.file, p.Title, v[1])
					}
				}
				checkQuery(t, d.file+": "+p.Title, q, known, used)
			}
		}
	}
	// What is measured and never shown is most likely forgotten.
	for name := range known {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !used[name] && !used[base+"_bucket"] && !used[base+"_count"] && !slices.Contains(unshown, name) {
			t.Errorf("no dashboard shows %s", name)
		}
	}
}

// unshown are metrics that no dashboard needs.
var unshown = []string{
	"tasker_handler_slots", // exists only for handlers with a limit of their own
}

// checkQuery parses a query and looks at every series that it selects.
func checkQuery(t *testing.T, where string, q target, known documented, used map[string]bool) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(fill(q.Expr))
	if err != nil {
		t.Errorf("%s: %s: %v", where, q.Expr, err)
		return
	}
	kept := []string{"instance", "job"} // by the scrape
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		labels, ok := known[s.Name]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, s.Name)
		}
		used[s.Name] = true
		kept = append(append(kept, labels...), "le")
		for _, m := range s.LabelMatchers {
			if m.Name != "__name__" && m.Name != "instance" && m.Name != "job" && !slices.Contains(labels, m.Name) {
				t.Errorf("%s: %s has no label %s, it has %v", where, s.Name, m.Name, labels)
			}
		}
		return nil
	})
	for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(q.LegendFormat, -1) {
		if !slices.Contains(kept, m[1]) {
			t.Errorf("%s: the legend names label %s, which no series has", where, m[1])
		}
	}
}

// fill puts in what Grafana does: all values of every variable, and four scrape intervals.
func fill(expr string) string {
	expr = strings.ReplaceAll(expr, "$__rate_interval", "20s")
	return regexp.MustCompile(`\$\w+`).ReplaceAllString(expr, ".*")
}

// labelValues is the form of a variable's query: the selector and the label.
var labelValues = regexp.MustCompile(`label_values\((.*), (\w+)\)`)
