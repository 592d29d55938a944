// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"drover/internal/wire"
)

// exchange puts the new binary in the installed one's place, or makes the link point to it, and keeps the old one under its own
// name. It asks first what has been done, so that it can be repeated from any point.
func exchange(p plan) error {
	if p.restarts() {
		return nil
	}
	now, err := idOf(p.Binary)
	if err != nil {
		return fmt.Errorf("exchange the binary: %w", err)
	}
	if now == p.New && now != p.Old {
		return nil
	}
	if now != p.Old {
		return failure(wire.KindStale, "%s is neither the old nor the new binary: someone else has replaced it", p.Binary)
	}
	if placed, err := idOf(p.Placed); err != nil || placed != p.New {
		return errors.Join(failure(wire.KindStale, "%s is not the binary that was checked: someone else has replaced it", p.Placed), err)
	}
	if err := keepOld(p); err != nil {
		return fmt.Errorf("keep the old binary: %w", err)
	}
	if p.LinkNew != "" {
		err = switchLink(p.Binary, p.LinkNew)
	} else {
		err = os.Rename(p.Placed, p.Binary)
	}
	if err != nil {
		return fmt.Errorf("exchange the binary: %w", err)
	}
	return syncDir(filepath.Dir(p.Binary))
}

// keepOld gives what ran its own name. Where that is not the installed file, both are kept: until something is stopped the one may
// have to come back, afterwards the other.
func keepOld(p plan) error {
	switch {
	case p.Kept != "":
		if err := linkOver(p.Kept, p.Previous); err != nil {
			return err
		}
		if p.Displaced != "" {
			if err := linkOver(p.Binary, p.Displaced); err != nil {
				return err
			}
		}
	case p.LinkNew == "":
		if err := linkOver(p.Binary, p.Previous); err != nil {
			return err
		}
	default:
		return nil // a switched link leaves the old binary where it is
	}
	return syncDir(filepath.Dir(p.Previous))
}

// exchangeBack brings back what ran before the swap; the new binary waits under its own name again.
func exchangeBack(p plan) error { return putBack(p, p.Back, p.Previous, p.LinkBack) }

// unexchange brings back what was installed before the swap, where nothing has been stopped.
func unexchange(p plan) error {
	from := p.Previous
	if p.Displaced != "" {
		from = p.Displaced
	}
	return putBack(p, p.Old, from, p.LinkOld)
}

// putBack puts the file old, which waits as from, in the new one's place, or makes the link say text again.
func putBack(p plan, old fileID, from, text string) error {
	if p.restarts() {
		return nil
	}
	now, err := idOf(p.Binary)
	if err != nil {
		return fmt.Errorf("put the old binary back: %w", err)
	}
	if now == old {
		return nil
	}
	if now != p.New {
		return failure(wire.KindStale, "%s is neither the old nor the new binary: someone else has replaced it", p.Binary)
	}
	if p.LinkNew != "" {
		if err := pointsTo(p.Binary, text, old); err != nil {
			return err
		}
		if err := switchLink(p.Binary, text); err != nil {
			return fmt.Errorf("put the old binary back: %w", err)
		}
		return nil
	}
	if kept, err := idOf(from); err != nil || kept != old {
		return failure(wire.KindStale, "%s is not the old binary any more", from)
	}
	if err := linkOver(p.Binary, p.Placed); err != nil {
		return fmt.Errorf("keep the new binary: %w", err)
	}
	if err := os.Rename(from, p.Binary); err != nil {
		return fmt.Errorf("put the old binary back: %w", err)
	}
	return syncDir(filepath.Dir(p.Binary))
}

// pointsTo makes sure that a link which says text means the file that is wanted.
func pointsTo(link, text string, want fileID) error {
	path := text
	if !filepath.IsAbs(path) {
		path = filepath.Dir(link) + "/" + path
	}
	if id, err := idOf(path); err != nil || id != want {
		return failure(wire.KindStale, "%s is not the old binary any more", path)
	}
	return nil
}

// linkOver gives a file a second name, in place of what had it.
func linkOver(from, to string) error {
	temporary := filepath.Join(filepath.Dir(to), temporaryPrefix(to)+randomHex(6))
	if err := os.Link(from, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, to); err != nil {
		os.Remove(temporary)
		return err
	}
	// rename(2) does nothing when both names are the same file already.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
