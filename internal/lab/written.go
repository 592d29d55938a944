// SPDX-License-Identifier: MPL-2.0

package lab

import "path/filepath"

// Written is the directory of every file by which a host differs from the root that all hosts of the lab share: what was
// made on it or changed, and a character device 0/0 for what was removed (overlayfs).
func (l *Lab) Written(host string) string {
	return l.path(filepath.Join(layersDir, host, "upper"))
}
