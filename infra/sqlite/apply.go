package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Load is index.Store's.
func (x *Index) Load(_ context.Context, id domain.TaskID) (*index.Row, error) {
	x.swap.RLock()
	defer x.swap.RUnlock()
	if err := x.ready(); err != nil {
		return nil, err
	}
	return x.load(x.loader, id)
}

func (x *Index) load(c *sqlite.Conn, id domain.TaskID) (row *index.Row, err error) {
	err = each(c, `SELECT num, detail FROM task WHERE id = ?`, func(s *sqlite.Stmt) (err error) {
		row, err = x.unpack(c, s.ColumnInt64(0), blob(s, 1))
		return err
	}, id[:])
	return row, err
}

// unpack reads a detail.
func (x *Index) unpack(c *sqlite.Conn, num int64, detail []byte) (*index.Row, error) {
	var failed error
	row, err := index.UnpackRow(num, detail, x.defs.finder(c, &failed))
	return row, errors.Join(failed, err)
}

// Marks is index.Store's.
func (x *Index) Marks(context.Context) (map[int]index.Mark, error) {
	x.swap.RLock()
	defer x.swap.RUnlock()
	if err := x.ready(); err != nil {
		return nil, err
	}
	return readMarks(x.loader)
}

func readMarks(c *sqlite.Conn) (map[int]index.Mark, error) {
	marks := map[int]index.Mark{}
	err := each(c, `SELECT part, sequence, commit_id, at FROM mark`, func(s *sqlite.Stmt) error {
		marks[s.ColumnInt(0)] = index.Mark{
			Sequence: uint64(s.ColumnInt64(1)), CommitID: s.ColumnText(2), At: domain.Instant(s.ColumnInt64(3)), // #nosec G115 -- as it was written
		}
		return nil
	})
	return marks, err
}

// Apply is index.Store's: one transaction.
func (x *Index) Apply(_ context.Context, b *index.Batch) error {
	return x.apply(b, x.generation.Load())
}

// apply is Apply for what was made from the rows of a file. errAgain when there is another one now.
func (x *Index) apply(b *index.Batch, generation uint64) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.swap.RLock()
	defer x.swap.RUnlock()
	if err := x.ready(); err != nil {
		return err
	}
	if generation != x.generation.Load() {
		return errAgain
	}
	if err := x.transact(func(a *applier) error { return a.batch(b) }); err != nil {
		return err
	}
	x.known.advance(b.Marks)
	return nil
}

// transact runs f in a transaction of the writer, which is held.
func (x *Index) transact(f func(*applier) error) error {
	if err := run(x.writer, `BEGIN IMMEDIATE`); err != nil {
		return explainOpen(x.path, err)
	}
	a := &applier{x: x, c: x.writer, kinds: map[index.Kind]int64{}, counted: map[counted]int64{}, segments: segments{}}
	err := f(a)
	if err == nil {
		err = a.count()
	}
	if err == nil {
		err = a.segments.store(a.c)
	}
	if err == nil && a.texts {
		err = exec(a.c, `UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'texts'`)
	}
	if err == nil {
		err = run(x.writer, `COMMIT`)
	}
	if err != nil {
		_ = run(x.writer, `ROLLBACK`) // an error that ended the transaction by itself refuses it
		return explainOpen(x.path, err)
	}
	return nil
}

// applier writes within one transaction.
type applier struct {
	x        *Index
	c        *sqlite.Conn
	kinds    map[index.Kind]int64
	counted  map[counted]int64
	segments segments
	texts    bool // some have changed
}

type counted struct {
	kind  int64
	state domain.State
}

func (a *applier) batch(b *index.Batch) error {
	for _, d := range b.Definitions {
		if err := a.definition(d); err != nil {
			return err
		}
	}
	insert, err := a.c.Prepare(sqlInsert)
	if err != nil {
		return err
	}
	update, err := a.c.Prepare(sqlUpdate)
	if err != nil {
		return err
	}
	for i := range b.Writes {
		err := a.write(&b.Writes[i], insert, update)
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint {
			if err = a.supersede(b.Writes[i].ID); err == nil {
				err = a.write(&b.Writes[i], insert, update)
			}
		}
		if err != nil {
			return fmt.Errorf("task %s: %w", b.Writes[i].ID, err)
		}
	}
	for key, stat := range b.Stats {
		if err := a.stat(key, stat); err != nil {
			return err
		}
	}
	for p, m := range b.Marks {
		if err := exec(a.c, `INSERT OR REPLACE INTO mark VALUES(?, ?, ?, ?)`, p, int64(m.Sequence), m.CommitID, int64(m.At)); err != nil { // #nosec G115 -- stays below 1<<63
			return err
		}
	}
	return nil
}

func (a *applier) definition(d *domain.Definition) error {
	if err := exec(a.c, `INSERT OR IGNORE INTO definition VALUES(?, ?)`, d.Hash(), []byte(d.Body())); err != nil {
		return err
	}
	k := index.KindOf(d)
	return exec(a.c, `INSERT INTO kind(namespace, name, version, hash) VALUES(?, ?, ?, ?)
		ON CONFLICT(namespace, name, version) DO UPDATE SET hash = excluded.hash`, k.Namespace, k.Name, k.Version, d.Hash())
}

func (a *applier) kind(k index.Kind) (id int64, err error) {
	id, ok := a.kinds[k]
	if ok {
		return id, nil
	}
	if id, err = number(a.c, `SELECT id FROM kind WHERE namespace = ? AND name = ? AND version = ?`, k.Namespace, k.Name, k.Version); err != nil {
		return 0, err
	}
	if id == 0 { // its definition came before the index began, and with another name
		if err := exec(a.c, `INSERT INTO kind(namespace, name, version, hash) VALUES(?, ?, ?, '')`, k.Namespace, k.Name, k.Version); err != nil {
			return 0, err
		}
		id = a.c.LastInsertRowID()
	}
	a.kinds[k] = id
	return id, nil
}

func (a *applier) write(w *index.Write, insert, update *sqlite.Stmt) error {
	kind, err := a.kind(w.Kind)
	if err != nil {
		return err
	}
	var at int
	var segmented *segmented
	var segment int64
	s := update
	if w.New {
		if segmented, err = a.segments.of(a.c, kind); err != nil {
			return err
		}
		segment = segmented.next()
		s = insert
		s.BindInt64(1, w.Num)
		s.BindBytes(2, w.ID[:])
		s.BindInt64(3, kind)
		s.BindInt64(4, segment)
		s.BindInt64(5, int64(w.State))
		s.BindInt64(6, int64(w.Created))
		at = 7
	} else {
		s.BindInt64(1, int64(w.State))
		s.BindInt64(11, w.Num)
		at = 2
	}
	for _, n := range [...]int64{int64(w.Updated), int64(w.Ended), w.Duration, w.Retries, w.Tries, w.Slowest} {
		s.BindInt64(at, n)
		at++
	}
	s.BindText(at, string(w.Waiting))
	s.BindInt64(at+1, flags(w))
	s.BindBytes(at+2, w.Detail)
	if _, err := s.Step(); err != nil {
		return errors.Join(err, ignore(s.Reset()))
	}
	if err := s.Reset(); err != nil {
		return err
	}
	switch {
	case w.New:
		segmented.count(segment, 1)
	case a.c.Changes() == 0:
		return nil // it was removed: its retention had passed
	default:
		a.counted[counted{kind, w.OldState}]--
	}
	a.counted[counted{kind, w.State}]++
	return a.findable(w)
}

// supersede removes a task whose id a new one has: its key was used again when the window of idempotency had passed.
func (a *applier) supersede(id domain.TaskID) error {
	num, err := number(a.c, `SELECT num FROM task WHERE id = ?`, id[:])
	if err != nil {
		return err
	}
	return a.remove(num)
}

func flags(w *index.Write) (bits int64) {
	if w.Paused {
		bits |= flagPaused
	}
	if w.Expired {
		bits |= flagExpired
	}
	return bits
}

// findable stores what else the task is found by.
func (a *applier) findable(w *index.Write) error {
	for _, f := range w.DropFacets {
		if err := exec(a.c, `DELETE FROM facet WHERE f = ? AND num = ?`, int64(f), w.Num); err != nil {
			return err
		}
	}
	for _, f := range w.AddFacets {
		if err := exec(a.c, `INSERT OR IGNORE INTO facet VALUES(?, ?)`, int64(f), w.Num); err != nil {
			return err
		}
	}
	a.texts = a.texts || w.NewText
	if w.NewText && w.HadText {
		if err := exec(a.c, `DELETE FROM words WHERE rowid = ?`, w.Num); err != nil {
			return err
		}
	}
	if w.NewText && w.Text != "" {
		return exec(a.c, `INSERT INTO words(rowid, text) VALUES(?, ?)`, w.Num, w.Text)
	}
	return nil
}

func (a *applier) stat(key index.StatKey, add *index.Stat) error {
	kind, err := a.kind(key.Kind)
	if err != nil {
		return err
	}
	sum := add
	if err := each(a.c, `SELECT data FROM stat WHERE kind = ? AND step = ? AND hour = ?`, func(s *sqlite.Stmt) error {
		if sum, err = index.ReadStat(blob(s, 0)); err == nil {
			sum.Add(add)
		}
		return err
	}, kind, key.Step, key.Hour); err != nil {
		return err
	}
	return exec(a.c, `INSERT OR REPLACE INTO stat VALUES(?, ?, ?, ?)`, kind, key.Step, key.Hour, sum.Append(nil))
}

// count stores how many tasks there are now of what has changed.
func (a *applier) count() error {
	for key, n := range a.counted {
		if n == 0 {
			continue
		}
		if err := exec(a.c, `INSERT INTO counted VALUES(?, ?, ?) ON CONFLICT(kind, state) DO UPDATE SET n = n + excluded.n`, key.kind, int(key.state), n); err != nil {
			return err
		}
	}
	return nil
}

// Last is index.Reader's.
func (x *Index) Last(ctx context.Context, id domain.TaskID) (p domain.Position, found bool, err error) {
	err = x.read(ctx, func(c *sqlite.Conn) error {
		row, err := x.load(c, id)
		if row != nil {
			p, found = row.Last, true
		}
		return err
	})
	return p, found, err
}
