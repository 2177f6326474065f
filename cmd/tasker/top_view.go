package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// topView draws a model: a pure function of it, and of the size of the screen.
type topView struct {
	style         style
	width, height int
	plain         bool // one picture that is printed: nothing is cut off, nothing is chosen
}

func (v topView) render(m *topModel) string {
	if v.width <= 0 {
		return ""
	}
	var lines []string
	switch {
	case m.help:
		lines = v.helpLines()
	case m.last == nil && m.lost == nil:
		lines = []string{v.line("asking the server …")}
	case m.inside:
		lines = append(v.banner(m), v.inside(m)...)
	default:
		lines = append(v.banner(m), v.outside(m)...)
	}
	if v.plain {
		return strings.TrimRight(strings.Join(lines, "\n"), "\n")
	}
	lines = lines[:min(len(lines), max(v.height-1, 0))]
	for len(lines) < v.height-1 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, v.foot(m)), "\n")
}

// line cuts a plain text to the width; paint it afterwards.
func (v topView) line(format string, a ...any) string {
	text := fmt.Sprintf(format, a...)
	if v.plain {
		return text
	}
	return cut(text, v.width)
}

// banner says that the picture is old, and why.
func (v topView) banner(m *topModel) []string {
	var lines []string
	if m.lost != nil {
		lines = append(lines, v.style.bad(v.line("no answer since %s: %s", m.since.Local().Format("15:04:05"), oneLine(m.lost.Error()))),
			v.style.faint(v.line("What is shown is older. It is tried again; `tasker doctor` looks at the server, NATS and the disk.")))
	}
	if m.last != nil && m.last.partly != nil {
		lines = append(lines, v.style.warn(v.line("not all partitions answer: %s", oneLine(m.last.partly.Error()))))
	}
	return lines
}

func (v topView) outside(m *topModel) []string {
	if m.last == nil {
		return nil
	}
	lines := v.head(m.last)
	lines = append(lines, "")
	lines = append(lines, v.partitions(m.last.status)...)
	if defs := definitionLines(m.last.tasks); len(defs) > 0 {
		lines = append(lines, "")
		lines = append(lines, v.definitions(defs, len(m.last.tasks))...)
	}
	return append(append(lines, ""), v.tasks(m, max(v.height-2-len(lines)-len(v.banner(m)), 3))...)
}

func (v topView) head(p *picture) []string {
	t := sum(p.status)
	engines := make([]string, 0, len(p.status.Engines))
	for _, e := range p.status.Engines {
		engines = append(engines, e.Name+" "+e.Version)
	}
	title := v.line("tasker  %s  durability %s", p.at.Local().Format("15:04:05"), p.status.Info.Durability)
	lines := []string{v.style.bold(title) + v.style.faint(v.rest("  "+strings.Join(engines, ", "), title))}
	rate := "rates after the second look"
	if r := p.rates; r != nil {
		rate = fmt.Sprintf("%s events/s  %s commits/s  %s steps/s  %s failed/s  %s/s to the log  commit %s",
			number(r.Events), number(r.Commits), number(r.Steps), number(r.Failed), byteSize(r.Bytes), mean(r.Ack))
	}
	lines = append(lines, v.line("rate    %s", rate),
		v.line("tasks   %d live: %d running, %d waiting    %d failed    %d inputs queued", t.live, t.running, max(t.live-t.running, 0), t.failedTasks, t.queued))
	slots := v.line("slots   %d of %d used    %d ready steps wait    slowest commit %s", t.used, t.slots, t.held, mean(t.slowest))
	if t.leaked > 0 {
		slots += v.style.warn(v.rest(fmt.Sprintf("    %d handlers ignore their end", t.leaked), slots))
	}
	return append(lines, slots)
}

// rest is as much of a text as fits behind another.
func (v topView) rest(text, behind string) string {
	if v.plain {
		return text
	}
	return cut(text, max(v.width-len([]rune(behind)), 0))
}

func (v topView) partitions(s *tasker.Status) []string {
	lines := []string{v.style.faint(v.line("%-9s  %-9s  %12s  %9s  %8s  %8s  %s", "PARTITION", "PHASE", "SEQUENCE", "LIVE", "FAILED", "WAITING", "OWNER"))}
	for _, p := range s.Partitions {
		owner := p.Owner
		if owner == "" {
			owner = "nobody: " + oneLine(p.Why)
		} else if p.Why != "" {
			owner += ": " + oneLine(p.Why)
		}
		text := v.line("%02d         %-9s  %12d  %9d  %8d  %8d  %s", p.Partition, p.Phase, p.Sequence, p.Live, p.Failed, p.Held, owner)
		if p.Why != "" {
			text = v.style.bad(text)
		}
		lines = append(lines, text)
	}
	const most = 6
	if !v.plain && len(lines) > most+1 {
		lines = append(lines[:most], v.style.faint(v.line("… %d more: tasker status", len(s.Partitions)-most+1)))
	}
	return lines
}

func (v topView) definitions(defs []definitionLine, of int) []string {
	title := "DEFINITION"
	if of >= topTasks {
		title = fmt.Sprintf("DEFINITION (of the newest %d tasks)", topTasks)
	}
	width := 36
	lines := []string{v.style.faint(v.line("%s  %8s  %8s  %8s  %s", pad(title, width), "RUNNING", "WAITING", "FAILED", "OLDEST"))}
	for i, d := range defs {
		if i == 4 && !v.plain {
			lines = append(lines, v.style.faint(v.line("… %d more", len(defs)-i)))
			break
		}
		lines = append(lines, v.line("%s  %8d  %8d  %8d  %s", pad(cut(d.name, max(width, len(title))), width), d.running, d.waiting, d.failed, moment(d.oldest)))
	}
	return lines
}

func (v topView) tasks(m *topModel, room int) []string {
	list := m.tasks()
	// Of what the id and the age leave, half each; the tags get what is over on a wide screen.
	wide := min(max((v.width-36-9-8-6)/2, 10), 30)
	lines := []string{v.style.faint(v.line("%-36s  %s  %s  %9s  %s", "TASK", pad("DEFINITION", wide), pad("STATE", wide), "AGE", "TAGS"))}
	if len(list) == 0 {
		none := "no live and no failed tasks: submit one with `tasker submit NAME --input …`"
		if m.filter != "" {
			none = "no task contains " + fmt.Sprintf("%q", m.filter) + ": esc takes the filter back"
		}
		return append(lines, v.style.faint(v.line("%s", none)))
	}
	at, from := m.place(), 0
	if !v.plain && at >= room-1 {
		from = at - room + 2
	}
	for i := from; i < len(list); i++ {
		if !v.plain && len(lines) >= room {
			break
		}
		t := &list[i]
		text := v.line("%-36s  %s  %s  %9s  %s", t.ID, pad(cut(t.Name+"@"+t.Version, wide), wide), pad(cut(topState(t), wide), wide),
			tick(m.last.at.Sub(t.CreatedAt)), strings.Join(t.Tags, ","))
		switch {
		case i == at && !v.plain:
			text = v.chosen(text)
		case t.State == domain.Error:
			text = v.style.bad(text)
		case t.Paused || t.Waiting != "":
			text = v.style.warn(text)
		}
		lines = append(lines, text)
	}
	return lines
}

// topState is the state of a task in few words.
func topState(t *tasker.Task) string {
	switch {
	case t.State == domain.Error:
		return word(t.State)
	case t.Paused:
		return "paused"
	case t.Waiting != "":
		return "waits, " + strings.ReplaceAll(string(t.Waiting), "_", " ")
	}
	return word(t.State)
}

// chosen marks a line for eyes with and without colours.
func (v topView) chosen(text string) string {
	if !v.style.on {
		return cut("> "+text, v.width)
	}
	return v.style.paint("7", pad(text, v.width))
}

// inside are the details of one task.
func (v topView) inside(m *topModel) []string {
	d := m.details
	switch {
	case d == nil:
		return []string{v.line("task %s", m.chosen), "", v.line("asking …")}
	case d.err != nil:
		return []string{v.line("task %s", m.chosen), "", v.style.bad(v.line("%s", oneLine(d.err.Error())))}
	}
	t := d.task
	lines := []string{
		v.style.bold(v.line("%s  %s.%s@%s", t.ID, t.Namespace, t.Name, t.Version)),
		v.line("state    %s, created %s", taskState(t), moment(t.CreatedAt)),
	}
	if x := d.explain; x != nil {
		why := oneLine(x.Text)
		if x.Step != "" {
			why = x.Step + ": " + why
		}
		for i, part := range wrapped(why, max(v.width-9, 20)) {
			lines = append(lines, v.style.bold(v.line("%-9s%s", map[bool]string{true: "why"}[i == 0], part)))
		}
		if x.Fix != "" {
			lines = append(lines, v.style.active(v.line("fix      %s", x.Fix)))
		} else if x.Hint != "" {
			lines = append(lines, v.line("hint     %s", x.Hint))
		}
	}
	lines = append(lines, "", v.style.faint(v.line("%-28s  %-34s  %-8s  %9s  %s", "STEP", "STATE", "ATTEMPT", "TOOK", "LAST ERROR")))
	var steps []string
	for i := range t.Steps {
		s := &t.Steps[i]
		text := ""
		if s.Error != nil {
			text = errorText(s.Error)
		}
		steps = append(steps, v.stepStyle(s, v.line("%s  %s  %-8s  %9s  %s", pad(cut(s.Name, 28), 28), pad(cut(stepState(s), 34), 34), attempts(s),
			spanOrNone(took(s)), oneLine(text))))
	}
	from := min(m.scroll, max(0, len(steps)-(v.height-1-len(lines))))
	return append(lines, steps[from:]...)
}

func (v topView) stepStyle(s *tasker.Step, text string) string {
	switch s.State {
	case domain.Error:
		return v.style.bad(text)
	case domain.InProgress:
		return v.style.active(text)
	case domain.Complete:
		return v.style.good(text)
	case domain.Pending, domain.Cancelled, domain.ResolvedManually:
	}
	return text
}

func (v topView) helpLines() []string {
	lines := []string{
		"tasker top", "",
		"  up down j k     choose a task          enter   its steps, and why it does not move",
		"  pgup pgdown g G the first, the last    esc q   back, or quit",
		"  /               filter by any word     s       sort by urgency, age, name",
		"  p               pause the picture      ?       this help", "",
		"The list has the newest 200 live and failed tasks. `tasker task list` and `tasker stuck` have all.",
	}
	for i := range lines {
		lines[i] = v.line("%s", lines[i])
	}
	return lines
}

func (v topView) foot(m *topModel) string {
	if m.typing {
		return cut("/"+m.filter+"█", v.width)
	}
	text := "q quit  enter details  / filter  s sort (" + m.sort.String() + ")  p pause  ? help"
	if m.inside {
		text = "esc back  up down scroll  ? help"
	}
	if m.paused {
		text = "PAUSED  " + text
	}
	if m.filter != "" {
		text = "filter " + fmt.Sprintf("%q", m.filter) + "  " + text
	}
	return v.style.faint(cut(text, v.width))
}

// number is a rate with as many digits as people read.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f > 0:
		return fmt.Sprintf("%.1f", f)
	}
	return "0"
}

func byteSize(f float64) string {
	switch {
	case f >= 1<<20:
		return fmt.Sprintf("%.1f MiB", f/(1<<20))
	case f >= 1<<10:
		return fmt.Sprintf("%.0f KiB", f/(1<<10))
	}
	return fmt.Sprintf("%.0f B", f)
}

// mean is a duration, or nothing to measure.
func mean(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return span(d)
}

// wrapped is text in lines of at most that many columns.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
