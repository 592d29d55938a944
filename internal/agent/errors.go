// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

// failure makes an error of a kind that the caller can branch on.
func failure(kind, format string, args ...any) *wire.Error {
	return &wire.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// classify turns any error into one that travels, keeping the kind that it wraps or that the operating system gave.
func classify(err error) *wire.Error {
	var known *wire.Error
	if errors.As(err, &known) {
		if error(known) == err { //nolint:errorlint // whether it is the error itself, not what it wraps
			return known
		}
		return &wire.Error{Kind: known.Kind, Message: withoutHint(err, known), Hint: known.Hint}
	}
	kind := wire.KindFailed
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = wire.KindNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = wire.KindPermission
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = wire.KindNoSpace
	case errors.Is(err, context.DeadlineExceeded):
		kind = wire.KindTimeout
	}
	return &wire.Error{Kind: kind, Message: err.Error()}
}

// withoutHint is the text of a wrapping error without the hint of what it wraps, which travels in its own field.
func withoutHint(err error, inner *wire.Error) string {
	return strings.ReplaceAll(err.Error(), inner.Error(), inner.Message)
}
