// SPDX-License-Identifier: MPL-2.0

package modules

import "fmt"

// refusal is the error of a module that did nothing, because doing it would have put quorum, allocations or data at risk.
// The executor tells it from a failure by its method, and drover ends with a code of its own.
type refusal struct{ error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// Refused marks the error.
func (refusal) Refused() bool { return true }

func (r refusal) Unwrap() error { return r.error }
