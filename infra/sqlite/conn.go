package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// run carries out statements that return nothing that matters.
func run(c *sqlite.Conn, statements ...string) error {
	for _, text := range statements {
		s, _, err := c.PrepareTransient(text)
		if err != nil {
			return fmt.Errorf("%.40s: %w", text, err)
		}
		for more := true; more && err == nil; {
			more, err = s.Step()
		}
		if err = errors.Join(err, s.Finalize()); err != nil {
			return fmt.Errorf("%.40s: %w", text, err)
		}
	}
	return nil
}

// bind sets the arguments of a statement: int, int64, string, []byte.
func bind(s *sqlite.Stmt, args []any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case int:
			s.BindInt64(i+1, int64(arg))
		case int64:
			s.BindInt64(i+1, arg)
		case string:
			s.BindText(i+1, arg)
		case []byte:
			s.BindBytes(i+1, arg)
		default:
			panic(fmt.Sprintf("sqlite: a %T cannot be bound", arg))
		}
	}
}

// errStop ends each without an error.
var errStop = errors.New("stop")

// each calls f for every row; errStop of f ends it. The statement is kept for the next time.
func each(c *sqlite.Conn, text string, f func(*sqlite.Stmt) error, args ...any) error {
	s, err := c.Prepare(text)
	if err != nil {
		return err
	}
	bind(s, args)
	for {
		more, err := s.Step()
		if err != nil {
			return errors.Join(err, ignore(s.Reset()))
		}
		if !more {
			return nil
		}
		if err := f(s); err != nil {
			if errors.Is(err, errStop) {
				err = nil
			}
			return errors.Join(err, ignore(s.Reset()))
		}
	}
}

// ignore: resetting a statement repeats the error of its last step.
func ignore(error) error { return nil }

func exec(c *sqlite.Conn, text string, args ...any) error {
	return each(c, text, func(*sqlite.Stmt) error { return nil }, args...)
}

func number(c *sqlite.Conn, text string, args ...any) (n int64, err error) {
	err = each(c, text, func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}, args...)
	return n, err
}

func blob(s *sqlite.Stmt, column int) []byte {
	b := make([]byte, s.ColumnLen(column))
	s.ColumnBytes(column, b)
	return b
}

// read calls f with a connection in a transaction, so that all that it reads is of one moment.
func (x *Index) read(ctx context.Context, f func(*sqlite.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, x.options.QueryTime)
	defer cancel()
	x.swap.RLock()
	defer x.swap.RUnlock()
	if err := x.ready(); err != nil {
		return err
	}
	var c *sqlite.Conn
	select {
	case c = <-x.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { x.readers <- c }()
	c.SetInterrupt(ctx.Done())
	defer c.SetInterrupt(nil)
	if err := run(c, `BEGIN`); err != nil {
		return errorOf(ctx.Err(), err)
	}
	defer func() {
		c.SetInterrupt(nil)
		if end := run(c, `ROLLBACK`); err == nil {
			err = end
		}
	}()
	err = f(c)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if unusable(err) {
		x.damage.CompareAndSwap(nil, &err) // the follower makes the file again
	}
	return err
}
