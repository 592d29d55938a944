// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

const snapshotTimeout = 10 * time.Minute

// Snapshot writes a raft snapshot, as Nomad made it, to a writer. The API's own digest of the transfer is checked.
func Snapshot(ctx context.Context, client *api.Client, into io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	content, err := client.Operator().Snapshot((&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("ask %s: %w", snapshotPath, plain(err))
	}
	defer content.Close()
	if _, err := io.Copy(into, content); err != nil {
		return fmt.Errorf("receive the snapshot: %w", err)
	}
	return nil
}

// IsIdleSnapshotError recognises the refusal of a cluster that has written nothing since its servers last changed.
func IsIdleSnapshotError(err error) bool {
	code, body := statusCode(err)
	return code == http.StatusInternalServerError && strings.Contains(body, "wait until the configuration entry")
}

const schedulerPath = "/v1/operator/scheduler/configuration"

// Touch commits a write that changes nothing: the scheduler's configuration as it is, with check-and-set, so that a change by
// somebody else in between wins. All of its keys are written back, also those that this version of the API does not know.
func Touch(ctx context.Context, client *api.Client) error {
	var current struct {
		SchedulerConfig map[string]any
	}
	if err := get(ctx, client, schedulerPath, &current); err != nil {
		return err
	}
	index := ""
	if modified, ok := current.SchedulerConfig["ModifyIndex"].(float64); ok {
		index = fmt.Sprintf("?cas=%.0f", modified)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var reply struct{ Updated bool }
	if _, err := client.Raw().Write(schedulerPath+index, current.SchedulerConfig, &reply, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("write %s: %w", schedulerPath, plain(err))
	}
	return nil
}

// VerifySnapshot reads a snapshot (a gzipped tar) and compares its files with the SHA256SUMS inside.
func VerifySnapshot(content io.Reader) error {
	unzipped, err := gzip.NewReader(content)
	if err != nil {
		return fmt.Errorf("verify the snapshot: %w", err)
	}
	sums, promised := map[string]string{}, map[string]string{}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("verify the snapshot: %w", err)
		}
		if header.Name == "SHA256SUMS" {
			if promised, err = readSums(io.LimitReader(archive, 1<<20)); err != nil {
				return fmt.Errorf("verify the snapshot: %w", err)
			}
			continue
		}
		digest := sha256.New()
		if _, err := io.Copy(digest, archive); err != nil {
			return fmt.Errorf("verify the snapshot: %w", err)
		}
		sums[header.Name] = hex.EncodeToString(digest.Sum(nil))
	}
	if len(promised) == 0 || sums["state.bin"] == "" {
		return errors.New("verify the snapshot: it has no checksums or no state")
	}
	for name, sum := range promised {
		if sums[name] != sum {
			return fmt.Errorf("verify the snapshot: %s does not have the checksum that the snapshot promises", name)
		}
	}
	return nil
}

func readSums(content io.Reader) (map[string]string, error) {
	sums := map[string]string{}
	lines := bufio.NewScanner(content)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 {
			sums[fields[1]] = strings.ToLower(fields[0])
		}
	}
	return sums, lines.Err()
}
