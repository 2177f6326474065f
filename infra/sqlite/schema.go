package sqlite

// schemaVersion is stored in the file. A file of another version is made again.
const schemaVersion = 3

// applicationID says in the file's head whose it is.
const applicationID = 0x7461736b

// tables: a task has one row, which holds all of its steps; what tasks are rarely chosen by stands in facet, as hashes.
var tables = []string{
	`CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE mark(part INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, commit_id TEXT NOT NULL, at INTEGER NOT NULL)`,
	`CREATE TABLE kind(id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, hash TEXT NOT NULL, UNIQUE(namespace, name, version))`,
	`CREATE TABLE definition(hash TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE counted(kind INTEGER NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(kind, state)) WITHOUT ROWID`,
	`CREATE TABLE stat(kind INTEGER NOT NULL, step TEXT NOT NULL, hour INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(kind, step, hour)) WITHOUT ROWID`,
	`CREATE TABLE segment(kind INTEGER NOT NULL, id INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(kind, id)) WITHOUT ROWID`,
	`CREATE TABLE task(num INTEGER PRIMARY KEY, id BLOB NOT NULL, kind INTEGER NOT NULL, segment INTEGER NOT NULL, state INTEGER NOT NULL, created INTEGER NOT NULL,
		updated INTEGER NOT NULL, ended INTEGER NOT NULL, duration INTEGER NOT NULL, retries INTEGER NOT NULL, tries INTEGER NOT NULL,
		slowest INTEGER NOT NULL, waiting TEXT NOT NULL, flags INTEGER NOT NULL, detail BLOB NOT NULL)`,
	`CREATE UNIQUE INDEX task_id ON task(id)`,
	`CREATE TABLE facet(f INTEGER NOT NULL, num INTEGER NOT NULL, PRIMARY KEY(f, num)) WITHOUT ROWID`,
	`CREATE VIRTUAL TABLE words USING fts5(text, content='', contentless_delete=1, detail=none, tokenize="unicode61 remove_diacritics 0")`,
}

// indexes are made behind the rows when a whole file is made. New tasks come to the end of most of them, or to a few places; but
// durations are spread over the whole index, and every task would have another page written. So these have segments.
var indexes = []string{
	`CREATE INDEX task_created ON task(kind, state, created)`,
	`CREATE INDEX task_updated ON task(kind, state, updated)`,
	`CREATE INDEX task_ended ON task(kind, state, ended) WHERE ended > 0`,
	`CREATE INDEX task_duration ON task(kind, state, segment, duration) WHERE ended > 0`,
	`CREATE INDEX task_slowest ON task(kind, state, segment, slowest) WHERE ended > 0`,
	`CREATE INDEX task_retries ON task(kind, state, retries) WHERE retries > 0`,
	`CREATE INDEX task_tries ON task(kind, state, tries) WHERE tries > 0`,
}

// Bits of task.flags.
const (
	flagPaused = 1 << iota
	flagExpired
)

const (
	sqlInsert = `INSERT INTO task(num, id, kind, segment, state, created, updated, ended, duration, retries, tries, slowest, waiting, flags, detail)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlUpdate = `UPDATE task SET state=?, updated=?, ended=?, duration=?, retries=?, tries=?, slowest=?, waiting=?, flags=?, detail=? WHERE num=?`
)
