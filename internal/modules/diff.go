// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"drover/internal/wire"
)

// maxDiff bounds the contents that are compared, in bytes.
const maxDiff = 1 << 20

func unified(path, before, after string) string {
	return udiff.Unified("before: "+path, "after: "+path, before, after)
}

// contentDiff compares a file on the host with its new content. What is too large or no text is only said to differ.
func contentDiff(ctx context.Context, host Host, path string, before wire.StatResult, after []byte) (string, error) {
	if before.Size > maxDiff || len(after) > maxDiff {
		return fmt.Sprintf("%s: too large to show, %d bytes become %d\n", path, before.Size, len(after)), nil
	}
	var old bytes.Buffer
	if before.Exists {
		var reply wire.ReadResult
		if err := host.Receive(ctx, wire.Read{Path: path, Max: maxDiff}, &reply, &old); err != nil {
			return "", err
		}
	}
	if !isText(old.Bytes()) || !isText(after) {
		return fmt.Sprintf("%s: not text, %d bytes become %d\n", path, before.Size, len(after)), nil
	}
	return unified(path, old.String(), string(after)), nil
}

func isText(data []byte) bool { return utf8.Valid(data) && !bytes.ContainsRune(data, 0) }
