package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// topModel is what the live view knows and where the user is in it.
type topModel struct {
	view     topView
	interval time.Duration
	watch    *watcher

	last    *picture // the newest that succeeded
	lost    error    // why there is no newer one
	since   time.Time
	details *details // of the chosen task; nil: the list is shown
	inside  bool     // the details are shown
	chosen  tasker.TaskID
	scroll  int // of the details
	filter  string
	typing  bool
	sort    topSort
	paused  bool
	help    bool
}

// topSort is what the list of tasks is sorted by.
type topSort int

const (
	byUrgency topSort = iota // failed, waiting, running
	byAgeOf                  // the oldest first
	byName
	topSorts
)

func (s topSort) String() string { return [...]string{"urgency", "age", "name"}[s] }

func newTopModel(v topView) *topModel { return &topModel{view: v} }

type (
	pictureMsg struct{ p *picture }
	detailsMsg struct{ d *details }
	tickMsg    struct{}
)

// Init asks for the first picture.
func (m *topModel) Init() tea.Cmd { return m.lookNow() }

// View is the screen.
func (m *topModel) View() tea.View {
	v := tea.NewView(m.view.render(m))
	v.AltScreen = true
	v.WindowTitle = "tasker top"
	return v
}

func (m *topModel) lookNow() tea.Cmd {
	before := m.last
	return func() tea.Msg { return pictureMsg{m.watch.look(before)} }
}

func (m *topModel) lookAtChosen() tea.Cmd {
	id := m.chosen
	return func() tea.Msg { return detailsMsg{m.watch.lookAt(id)} }
}

// Update takes what happened.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.view.width, m.view.height = msg.Width, msg.Height
	case pictureMsg:
		m.take(msg.p)
		return m, tea.Tick(m.interval, func(time.Time) tea.Msg { return tickMsg{} })
	case detailsMsg:
		if m.inside && msg.d.id == m.chosen {
			m.details = msg.d
		}
	case tickMsg:
		switch {
		case m.paused:
			return m, tea.Tick(m.interval, func(time.Time) tea.Msg { return tickMsg{} })
		case m.inside:
			return m, tea.Batch(m.lookNow(), m.lookAtChosen())
		}
		return m, m.lookNow()
	case tea.KeyPressMsg:
		return m.key(msg.String(), msg.Text)
	}
	return m, nil
}

// take is a new picture. One that failed leaves the last one there.
func (m *topModel) take(p *picture) {
	if p.err != nil {
		if m.lost == nil {
			m.since = p.at
		}
		m.lost = p.err
		return
	}
	m.last, m.lost = p, nil
}

func (m *topModel) key(name, text string) (tea.Model, tea.Cmd) {
	switch {
	case name == "ctrl+c":
		return m, tea.Quit
	case m.typing:
		m.typeFilter(name, text)
		return m, nil
	case m.help: // any key leaves it
		m.help = false
		return m, nil
	case m.inside:
		return m.keyInside(name)
	}
	switch name {
	case "q", "esc":
		if name == "esc" && m.filter != "" {
			m.filter = ""
			return m, nil
		}
		return m, tea.Quit
	case "?", "h":
		m.help = true
	case "/":
		m.typing = true
	case "s":
		m.sort = (m.sort + 1) % topSorts
	case "p", "space":
		m.paused = !m.paused
	case "down", "j":
		m.move(1)
	case "up", "k":
		m.move(-1)
	case "pgdown":
		m.move(10)
	case "pgup":
		m.move(-10)
	case "home", "g":
		m.move(-topTasks)
	case "end", "G":
		m.move(topTasks)
	case "enter", "right", "l":
		if m.place() >= 0 {
			m.inside, m.details, m.scroll = true, nil, 0
			return m, m.lookAtChosen()
		}
	}
	return m, nil
}

func (m *topModel) keyInside(name string) (tea.Model, tea.Cmd) {
	switch name {
	case "q", "esc", "left", "h", "backspace":
		m.inside, m.details = false, nil
	case "down", "j":
		m.scroll++
	case "up", "k":
		m.scroll = max(0, m.scroll-1)
	case "pgdown", "space":
		m.scroll += 10
	case "pgup":
		m.scroll = max(0, m.scroll-10)
	case "?":
		m.help = true
	}
	if m.details != nil && m.details.task != nil {
		m.scroll = min(m.scroll, max(0, len(m.details.task.Steps)-1))
	}
	return m, nil
}

func (m *topModel) typeFilter(name, text string) {
	switch {
	case name == "enter":
		m.typing = false
	case name == "esc":
		m.typing, m.filter = false, ""
	case name == "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case text != "" && len(m.filter) < 100:
		m.filter += oneLine(text)
		if text == " " {
			m.filter += " "
		}
	}
}

// tasks are those of the list, filtered and sorted.
func (m *topModel) tasks() []tasker.Task {
	if m.last == nil {
		return nil
	}
	var list []tasker.Task
	for i := range m.last.tasks {
		if t := &m.last.tasks[i]; m.filter == "" || strings.Contains(strings.ToLower(haystack(t)), strings.ToLower(m.filter)) {
			list = append(list, *t)
		}
	}
	slices.SortStableFunc(list, func(a, b tasker.Task) int {
		age := a.CreatedAt.Compare(b.CreatedAt)
		switch m.sort {
		case byUrgency:
			return cmp.Or(cmp.Compare(urgency(&a), urgency(&b)), age)
		case byName:
			return cmp.Or(cmp.Compare(a.Name, b.Name), age)
		case byAgeOf, topSorts:
		}
		return age
	})
	return list
}

func haystack(t *tasker.Task) string {
	return strings.Join(append([]string{t.ID.String(), t.Namespace, t.Name, t.Version, taskState(t), t.Initiator, string(t.Waiting)}, t.Tags...), " ")
}

// urgency is smaller for what an operator should look at first.
func urgency(t *tasker.Task) int {
	switch {
	case t.State == domain.Error:
		return 0
	case t.Paused:
		return 1
	case t.Waiting != "":
		return 2
	case t.State == domain.Pending:
		return 3
	}
	return 4
}

// place is where the chosen task is in the list; the first one when it is not there any more; -1 in an empty list.
func (m *topModel) place() int {
	list := m.tasks()
	if len(list) == 0 {
		return -1
	}
	i := slices.IndexFunc(list, func(t tasker.Task) bool { return t.ID == m.chosen })
	if i < 0 {
		i = 0
		m.chosen = list[0].ID
	}
	return i
}

func (m *topModel) move(by int) {
	at := m.place()
	if at < 0 {
		return
	}
	list := m.tasks()
	m.chosen = list[min(max(at+by, 0), len(list)-1)].ID
}
