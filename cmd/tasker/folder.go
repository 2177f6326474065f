package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/loghandler"
)

// settle is how long a folder must be quiet before it is read again: editors write a file in several steps.
const settle = 150 * time.Millisecond

// folder is the definitions of a folder, kept in step with its files.
type folder struct {
	dir       string
	env       environment
	allowExec bool
	host      *host
	say       func(string)
	logger    func(context.Context) *slog.Logger

	mu       sync.Mutex
	own      map[string]bool   // hashes of definitions that came from the folder
	handlers map[string]bool   // definitions that have their task handler
	files    map[string]string // what was read last
	begun    bool
}

func newFolder(dir string, env environment, allowExec bool, h *host, say func(string)) *folder {
	return &folder{
		dir: dir, env: env, allowExec: allowExec, host: h, say: say,
		own: map[string]bool{}, handlers: map[string]bool{}, files: map[string]string{},
	}
}

// accept refuses what came over NATS and wants to run programs.
func (f *folder) accept(d *tasker.Definition) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if usesExec(d) && !f.own[d.Hash()] {
		return fmt.Errorf("%s runs programs (handler exec), which only definitions from the server's own folder may", d.FullName())
	}
	return nil
}

func usesExec(d *tasker.Definition) bool {
	for i := range d.Steps {
		if d.Steps[i].Handler == "exec" {
			return true
		}
	}
	return false
}

// start reads the folder and begins to watch it, until ctx ends. It returns the number of definitions.
func (f *folder) start(ctx context.Context) (int, error) {
	if f.dir == "" {
		return 0, nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(f.dir) // before the first reading, so that no change is missed
	}
	if err != nil {
		return 0, fmt.Errorf("watching %s: %w", f.dir, err)
	}
	loaded := f.read(ctx)
	go func() {
		defer func() { _ = watcher.Close() }()
		f.watch(ctx, watcher)
	}()
	return loaded, nil
}

func (f *folder) watch(ctx context.Context, watcher *fsnotify.Watcher) {
	quiet := time.NewTimer(settle)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-watcher.Events:
			if !ok {
				return
			}
			if isDefinition(event.Name) {
				quiet.Reset(settle)
			}
		case err, ok := <-watcher.Errors:
			if !ok {
				return
			}
			f.say("warning: watching " + f.dir + ": " + err.Error())
			quiet.Reset(settle) // events may have been lost
		case <-quiet.C:
			f.read(ctx)
		}
	}
}

func isDefinition(path string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path)))
}

// read loads every file that changed, and returns how many are in use. What is broken is reported, once per content, and
// changes nothing.
func (f *folder) read(ctx context.Context) int {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.say("error: " + err.Error())
		return 0
	}
	first := !f.begun
	f.begun = true
	seen := map[string]bool{}
	loaded := 0
	for _, entry := range entries {
		path := filepath.Join(f.dir, entry.Name())
		if entry.IsDir() || !isDefinition(path) {
			continue
		}
		seen[path] = true
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		before, known := f.files[path]
		if err == nil && known && before == string(text) {
			continue
		}
		f.files[path] = string(text)
		if err == nil {
			err = f.load(ctx, path, known || !first)
		}
		if err != nil {
			f.complain(path, err, known)
			continue
		}
		loaded++
	}
	for _, path := range slices.Sorted(maps.Keys(f.files)) {
		if !seen[path] {
			delete(f.files, path)
			f.say(path + " is gone; its definition stays registered")
		}
	}
	return loaded
}

func (f *folder) complain(path string, err error, known bool) {
	text := classify(err).Error()
	if !strings.Contains(text, path) {
		text = path + ": " + text
	}
	f.say("error: " + text)
	if known {
		f.say("the definition that " + path + " had stays in use")
	}
}

// load registers the definition of one file.
func (f *folder) load(ctx context.Context, path string, tell bool) error {
	file, err := loadFile(path, f.env, checkConfigs)
	if err != nil {
		return err
	}
	def := file.Definition
	for _, line := range loadWarnings(file) {
		f.say(line)
	}
	if usesExec(def) && !f.allowExec {
		return fmt.Errorf("%s runs programs (handler exec), which is off: start with --allow-exec", def.FullName())
	}
	f.mu.Lock()
	f.own[def.Hash()] = true
	f.mu.Unlock()
	if err := f.handle(def); err != nil {
		return err
	}
	if err := f.host.apply(ctx, def); err != nil {
		return err
	}
	if tell {
		f.say(path + ": " + def.FullName() + " is in use; tasks keep the definition that they began with")
	}
	for i := range def.Steps {
		if h := def.Steps[i].Handler; configChecks[h] == nil {
			f.say(fmt.Sprintf("warning: %s: step %s waits for a process that has the handler %q", path, def.Steps[i].Name, h))
		}
	}
	return nil
}

// handle lets a definition of the folder run programs. The handler exec is not registered by its name: so it does not
// exist for any other definition.
func (f *folder) handle(def *tasker.Definition) error {
	if !usesExec(def) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handlers[def.FullName()] {
		return nil
	}
	handlers := map[string]tasker.StepHandler{
		"exec": f.host.exec,
		"http": f.host.http,
		"log":  loghandler.New(loghandler.Options{Logger: f.logger}),
	}
	err := f.host.engine.TaskHandler(def.Namespace, def.Name, def.Version, tasker.TaskHandlerFunc(func(step tasker.StepView) (tasker.StepHandler, error) {
		if h := handlers[step.Handler]; h != nil {
			return h, nil
		}
		return nil, fmt.Errorf("there is no handler %q here; there are: %s", step.Handler, strings.Join(builtIn(), ", "))
	}))
	f.handlers[def.FullName()] = err == nil
	return err
}
