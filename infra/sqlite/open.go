package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Options of an Index.
type Options struct {
	// Data is the log that is indexed. A file that is about another log, or was made with other partitions, is made again.
	Data domain.DataInfo
	// Retention is how long tasks stay in the index when they have ended, or failed and expired. Default 30 days; negative: for ever.
	Retention time.Duration
	// QueryTime is how long a query may take, if its context allows more. Default 2 s.
	QueryTime time.Duration
	// Clock is the wall clock. Default time.Now.
	Clock func() time.Time
	// Logger is told when a file is made again, and of errors while following. Default slog.Default.
	Logger *slog.Logger
}

// Index is a file that is open, with page caches of 136 MiB at most. It implements index.Reader and index.Store; every method may be called from any goroutine,
// but Follow by one at a time.
type Index struct {
	path    string
	options Options
	lock    *os.File

	// swap is held by whoever uses the file, and alone by whoever puts another one in its place.
	swap    sync.RWMutex
	writer  *sqlite.Conn
	loader  *sqlite.Conn
	readers chan *sqlite.Conn
	closed  bool
	opened  os.FileInfo           // of the file
	damage  atomic.Pointer[error] // that a query has met

	writing    sync.Mutex // one batch at a time
	rebuilding sync.Mutex // one rebuild at a time
	following  atomic.Int32
	// generation counts the files that have been in this place: what was read of one means nothing in the next.
	generation atomic.Uint64
	known      known
	ahead      ahead
	defs       definitions
	dense      dense
	matches    matches
}

const (
	readers     = 4
	busyTimeout = 10 * time.Second
)

// Open opens the file, or makes it, with its directory. A file that is damaged, of another version, or of another log is
// removed, and Follow fills a new one.
//
// Errors: *LockedError when another process has it open; else what the file system says, with what to do.
func Open(ctx context.Context, path string, o Options) (*Index, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Retention == 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.QueryTime <= 0 {
		o.QueryTime = 2 * time.Second
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("index %s: it is a directory: give the name of a file in it", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, explainOpen(path, err)
	}
	x := &Index{path: path, options: o}
	if x.lock, err = lockFile(path); err != nil {
		return nil, err
	}
	if err := x.openOrMake(ctx); err != nil {
		return nil, errors.Join(err, x.lock.Close())
	}
	return x, nil
}

// Close ends what runs and closes the file. A second call does nothing.
func (x *Index) Close() error {
	x.swap.Lock()
	defer x.swap.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	return errors.Join(x.closeFile(), x.lock.Close())
}

// openOrMake opens the file, and makes it again when it cannot be used.
func (x *Index) openOrMake(ctx context.Context) error {
	_ = removeFile(x.path + rebuildSuffix)
	err := x.openFile(ctx)
	if err == nil {
		if err = x.check(); err == nil {
			return nil
		}
		err = errors.Join(err, x.closeFile())
	}
	if !unusable(err) {
		return explainOpen(x.path, err)
	}
	if !errors.Is(err, errEmpty) {
		x.options.Logger.Warn("the index is made again from the log", "file", x.path, "reason", reason(err))
	}
	return x.makeAgain(ctx)
}

// makeAgain puts an empty file in the place of the one that there is, which is not open.
func (x *Index) makeAgain(ctx context.Context) error {
	if err := removeFile(x.path); err != nil {
		return explainOpen(x.path, err)
	}
	if err := makeFile(x.path, x.options.Data, true); err != nil {
		return explainOpen(x.path, err)
	}
	if err := x.openFile(ctx); err != nil {
		return explainOpen(x.path, err)
	}
	return x.check()
}

// makeFile makes an empty index, with the secondary indexes or without.
func makeFile(path string, data domain.DataInfo, all bool) error {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return err
	}
	statements := append([]string{
		`PRAGMA page_size=8192`, `PRAGMA journal_mode=WAL`, `PRAGMA synchronous=NORMAL`,
		fmt.Sprintf(`PRAGMA application_id=%d`, applicationID), fmt.Sprintf(`PRAGMA user_version=%d`, schemaVersion), `BEGIN`,
	}, tables...)
	if all {
		statements = append(statements, indexes...)
	}
	err = run(c, statements...)
	for key, value := range map[string]string{
		"data": data.ID, "generation": strconv.Itoa(data.Generation), "partitions": strconv.Itoa(data.Partitions), "texts": "0",
	} {
		if err == nil {
			err = exec(c, `INSERT INTO meta VALUES(?, ?)`, key, value)
		}
	}
	if err == nil {
		err = run(c, `COMMIT`)
	}
	return errors.Join(err, c.Close())
}

// openFile opens the connections of a file that exists.
func (x *Index) openFile(context.Context) error {
	info, err := os.Stat(x.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0:
		return errEmpty
	case err != nil:
		return err
	}
	x.opened = info
	x.damage.Store(nil)
	if x.writer, err = connect(x.path, 64<<20, false); err != nil {
		return errors.Join(err, x.closeFile())
	}
	if x.loader, err = connect(x.path, 8<<20, true); err != nil {
		return errors.Join(err, x.closeFile())
	}
	x.readers = make(chan *sqlite.Conn, readers)
	for range readers {
		c, err := connect(x.path, 16<<20, true)
		if err != nil {
			return errors.Join(err, x.closeFile())
		}
		x.readers <- c
	}
	return nil
}

func connect(path string, cache int, readOnly bool) (*sqlite.Conn, error) {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	c.SetBlockOnBusy()
	statements := []string{
		`PRAGMA synchronous=NORMAL`, fmt.Sprintf(`PRAGMA cache_size=%d`, -cache/1024), `PRAGMA mmap_size=0`,
		`PRAGMA wal_autocheckpoint=4000`, `PRAGMA temp_store=MEMORY`, fmt.Sprintf(`PRAGMA busy_timeout=%d`, busyTimeout.Milliseconds()),
	}
	if readOnly {
		statements = append(statements, `PRAGMA query_only=1`)
	}
	if err := run(c, statements...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// closeFile closes the connections; nobody uses them.
func (x *Index) closeFile() error {
	var errs []error
	if x.readers != nil {
		for range len(x.readers) {
			errs = append(errs, (<-x.readers).Close())
		}
		x.readers = nil
	}
	for _, c := range []**sqlite.Conn{&x.loader, &x.writer} {
		if *c != nil {
			errs = append(errs, (*c).Close())
			*c = nil
		}
	}
	return errors.Join(errs...)
}

// check reads whose the file is, and how far it has come.
func (x *Index) check() error {
	if n, err := number(x.writer, `PRAGMA application_id`); err != nil || n != applicationID {
		return errors.Join(err, &foreignError{"it is not an index"})
	}
	if n, err := number(x.writer, `PRAGMA user_version`); err != nil || n != schemaVersion {
		return errors.Join(err, &foreignError{fmt.Sprintf("it has version %d, and this program writes version %d", n, schemaVersion)})
	}
	meta := map[string]string{}
	if err := each(x.writer, `SELECT key, value FROM meta`, func(s *sqlite.Stmt) error {
		meta[s.ColumnText(0)] = s.ColumnText(1)
		return nil
	}); err != nil {
		return err
	}
	d := x.options.Data
	if meta["data"] != d.ID || meta["generation"] != strconv.Itoa(d.Generation) || meta["partitions"] != strconv.Itoa(d.Partitions) {
		return &foreignError{fmt.Sprintf("it is about data %s with %s partitions, and this is data %s with %d", meta["data"], meta["partitions"], d.ID, d.Partitions)}
	}
	marks, err := readMarks(x.writer)
	if err != nil {
		return err
	}
	x.known.set(d.ID, marks)
	x.defs.clear()
	x.dense.clear()
	x.matches.clear()
	return nil
}

// removeFile removes a database with what belongs to it.
func removeFile(path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

const rebuildSuffix = ".rebuild"

var _ interface {
	index.Reader
	index.Store
} = (*Index)(nil)

// ready says why the file cannot be used, if it cannot; swap is held.
func (x *Index) ready() error {
	switch {
	case x.closed:
		return ErrClosed
	case x.readers == nil:
		return errNoFile
	}
	return nil
}
