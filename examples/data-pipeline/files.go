package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tasker-go/tasker"
)

// sources are the files to import, with their numbers of rows.
var sources = map[string]int{"customers.csv": 2000, "orders.csv": 4000, "clicks.csv": 3000}

// brokenRow of clicks.csv is not what it should be.
const brokenRow = 1601

func sourceFile(dir, name string) string { return filepath.Join(dir, "sources", name) }
func tableFile(dir, name string) string  { return filepath.Join(dir, "warehouse", name) }

// writeSources makes the files, unless they are there. A row is a number and an amount in cents.
func writeSources(dir string) error {
	for _, sub := range []string{"sources", "warehouse"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return err
		}
	}
	for name, rows := range sources {
		if _, err := os.Stat(sourceFile(dir, name)); err == nil {
			continue
		}
		var text bytes.Buffer
		for row := 1; row <= rows; row++ {
			if name == "clicks.csv" && row == brokenRow {
				text.WriteString("%PDF-1.4\n")
				continue
			}
			fmt.Fprintf(&text, "%d,%d\n", row, row%97)
		}
		if err := os.WriteFile(sourceFile(dir, name), text.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// transfer moves rows from a source to its table.
type transfer struct {
	source, table *os.File
	reader        *bufio.Reader
	batch         []byte // rows that are not in the table yet
}

// openTransfer begins where the cursor stands.
func openTransfer(dir, name string, at cursor) (*transfer, error) {
	source, err := os.Open(sourceFile(dir, name))
	if err != nil {
		return nil, err
	}
	_, err = source.Seek(at.Read, io.SeekStart)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	table, err := os.OpenFile(tableFile(dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return &transfer{source: source, table: table, reader: bufio.NewReader(source)}, nil
}

// next takes one row.
func (t *transfer) next(at *cursor) error {
	line, err := t.reader.ReadString('\n')
	if err != nil {
		return fmt.Errorf("row %d: %w", at.Row+1, err)
	}
	number, amount, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ",")
	cents, err := strconv.Atoi(amount)
	if err != nil || number != strconv.Itoa(at.Row+1) { // however often it is read
		return tasker.Permanent(fmt.Errorf("row %d is %q, which is no row", at.Row+1, line))
	}
	before := len(t.batch)
	t.batch = fmt.Appendf(t.batch, "%s;%d.%02d\n", number, cents/100, cents%100)
	at.Row, at.Read, at.Cents = at.Row+1, at.Read+int64(len(line)), at.Cents+cents
	at.Written += int64(len(t.batch) - before)
	return nil
}

// flush writes the batch where it belongs: over what an attempt wrote that died before its checkpoint. So a row that is
// imported twice is in the table once.
func (t *transfer) flush(at cursor) error {
	if _, err := t.table.WriteAt(t.batch, at.Written-int64(len(t.batch))); err != nil {
		return err
	}
	t.batch = t.batch[:0]
	return t.table.Sync()
}

func (t *transfer) close() {
	_ = t.source.Close()
	_ = t.table.Close() // flush has synced it
}
