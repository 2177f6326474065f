package domain

// What a fork writes besides (see wire.go) and reads (see wire_facts.go).

func (o object) forkedIf(name string, f *ForkedFrom) object {
	if f == nil {
		return o
	}
	o = o.open(name)
	o = append(f.Task.Append(append(o.key("task"), '"')), '"')
	return o.position("position", f.Position).close()
}

func (o object) positionIf(name string, p Position) object {
	if p == (Position{}) {
		return o
	}
	return o.position(name, p)
}

func (o object) position(name string, p Position) object {
	return append(p.Append(append(o.key(name), '"')), '"')
}

func (d *decoder) forkedFrom() *ForkedFrom {
	if d.null() {
		return nil
	}
	from := &ForkedFrom{}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "task":
			from.Task = d.task()
		case "position":
			from.Position = d.position()
		default:
			d.value()
		}
	}
	return from
}

func (d *decoder) stepInherited(env envelope) Event {
	ev := StepInherited{Step: env.step}
	for more := d.enter('{'); more; more = d.another('}') {
		switch string(d.key()) {
		case "result":
			ev.Result = Inline(d.raw())
		case "result_ref":
			ev.Result = d.blob()
		case "skipped":
			ev.Skipped = d.flag()
		case "resolved":
			ev.Resolved = d.flag()
		case "from":
			ev.From = d.position()
		default:
			d.value()
		}
	}
	return ev
}

func (d *decoder) position() Position {
	if d.null() {
		return Position{}
	}
	start := d.pos
	if d.next() != '"' {
		d.unexpected("a position")
		return Position{}
	}
	text := d.text()
	if d.err != nil {
		return Position{}
	}
	at, err := ParsePosition(string(text))
	if err != nil {
		d.fail(start, "%v", err)
	}
	return at
}
