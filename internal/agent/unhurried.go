// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// stagingNice is the scheduling priority of staging: below everything that serves, so that unpacking a hundred megabytes beside a busy
// server does not cost it an election.
const stagingNice = 10

// unhurried does work on a thread of low priority, which the programs that it starts inherit. The thread ends with the work: on
// Linux a thread may lower its priority, but only a privileged one may raise it again.
func unhurried[T any](do func() (T, error)) (T, error) {
	type ended struct {
		result T
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		runtime.LockOSThread()
		var e ended
		defer func() {
			if r := recover(); r != nil {
				e.err = fmt.Errorf("panic: %v", r)
			}
			done <- e
		}()
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), stagingNice); err != nil {
			e.err = fmt.Errorf("lower the priority of staging: %w", err)
			return
		}
		e.result, e.err = do()
	}()
	e := <-done
	return e.result, e.err
}
