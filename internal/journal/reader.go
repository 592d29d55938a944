// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/event"
	"drover/internal/wait"
)

// Journal is the record of a run.
type Journal struct {
	Dir      string
	Manifest Manifest
	torn     bool
}

// Open reads what was asked of a run. Its events are read by Events.
func Open(dir string) (*Journal, error) {
	manifest, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	return &Journal{Dir: dir, Manifest: manifest}, nil
}

// Events reads what has happened so far, in order. It ends after an error: a line that is damaged, other than the last one. The
// Result of an event is a json.RawMessage.
func (j *Journal) Events() iter.Seq2[event.Event, error] { return j.events(nil) }

// Follow does the same, and waits for more until the run has ended or died, or ctx is done.
func (j *Journal) Follow(ctx context.Context) iter.Seq2[event.Event, error] {
	return j.events(func() (bool, error) {
		running, err := Running(j.Dir)
		if err != nil || !running {
			return false, err
		}
		return true, wait.For(ctx, polling)
	})
}

// polling is how often Follow looks for more.
const polling = 200 * time.Millisecond

// Torn tells whether the last line was cut off; it is known when Events has come to the end.
func (j *Journal) Torn() bool { return j.torn }

func (j *Journal) events(more func() (bool, error)) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for line, err := range j.lines(more) {
			var e event.Event
			if err == nil {
				if e, err = decode(line.text); err != nil {
					err = j.damage(line.number, err)
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// line is one line that checks out.
type line struct {
	number int
	text   []byte // until the next one is read
}

func (j *Journal) damage(number int, err error) error {
	return fmt.Errorf("%s is damaged in line %d: %w", filepath.Join(j.Dir, EventsFile), number, err)
}

// lines reads the lines that check out. At the end of the file it asks more whether to try again.
func (j *Journal) lines(more func() (bool, error)) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		opened, err := os.Open(filepath.Join(j.Dir, EventsFile))
		if err != nil {
			yield(line{}, err)
			return
		}
		defer opened.Close()
		torn, err := scan(opened, more, func(l line) bool { return yield(l, nil) })
		j.torn = torn
		var broken *brokenLine
		switch {
		case errors.As(err, &broken):
			yield(line{}, j.damage(broken.number, broken.err))
		case err != nil && !errors.Is(err, errEnough):
			yield(line{}, fmt.Errorf("read %s: %w", opened.Name(), err))
		}
	}
}

type brokenLine struct {
	number int
	err    error
}

func (b *brokenLine) Error() string { return fmt.Sprintf("line %d: %v", b.number, b.err) }

// errEnough ends a scan whose reader has seen enough.
var errEnough = errors.New("enough was read")

// scan hands on the lines that check out, and tells whether the last one was cut off. The last line may be wrong in any way; when
// another follows it, it is damage.
func scan(from io.Reader, more func() (bool, error), take func(line) bool) (torn bool, err error) {
	lines := &splitter{from: bufio.NewReaderSize(from, 64<<10), more: more}
	var wrong *brokenLine
	for number := 1; ; number++ {
		text, whole, err := lines.next()
		switch {
		case err != nil:
			return wrong != nil, err
		case wrong != nil && (whole || len(text) > 0):
			return false, wrong
		case !whole:
			return wrong != nil || len(text) > 0, nil
		}
		if err := check(text, number); err != nil {
			wrong = &brokenLine{number, err}
			continue
		}
		if !take(line{number, text}) {
			return false, errEnough
		}
	}
}

// splitter cuts a file that may still grow into lines.
type splitter struct {
	from *bufio.Reader
	more func() (bool, error) // nil: the file does not grow
	part []byte
}

// next returns a line without its end. It is not whole at the end of the file.
func (s *splitter) next() (text []byte, whole bool, err error) {
	s.part = s.part[:0]
	for last := false; ; {
		piece, err := s.from.ReadSlice('\n')
		s.part = append(s.part, piece...)
		switch {
		case err == nil:
			return s.part[:len(s.part)-1], true, nil
		case len(s.part) > maxLine:
			return s.part, true, nil // too long to be a line, which check will see
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case !errors.Is(err, io.EOF):
			return s.part, false, err
		case last || s.more == nil:
			return s.part, false, nil
		}
		again, err := s.more()
		if err != nil {
			return s.part, false, err
		}
		// What was written before the run ended is read once more.
		last = !again
	}
}

// Running tells whether the run of a directory is alive: its lock is held.
func Running(dir string) (bool, error) {
	opened, err := os.Open(filepath.Join(dir, EventsFile))
	if err != nil {
		return false, err
	}
	defer opened.Close()
	err = unix.Flock(int(opened.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
