// SPDX-License-Identifier: MPL-2.0

// Package yaml reads YAML as Ansible does and keeps the place of every value. It is the only package that knows the
// library underneath.
//
// Ansible reads YAML 1.1: a plain `yes` is true and a plain `1e3` is text. Parse turns a file into nodes with
// positions, in which plain scalars have been given their type by those rules; Decode turns a node into the values
// of package expression. What Ansible would read silently in a way that surprises (a version 1.10 that becomes 1.1)
// is a Warning.
package yaml
