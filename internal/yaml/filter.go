// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"errors"
	"fmt"
	"slices"

	"drover/internal/expression"
)

// Filter answers the filters to_yaml, to_nice_yaml and from_yaml, which an expression leaves to its scope. As with
// Ansible the keys are sorted.
func Filter(name string, value any) (any, error) {
	if name != "from_yaml" {
		data, err := Marshal(sorted(value))
		return string(data), err
	}
	text, ok := value.(string)
	if !ok {
		return value, nil
	}
	documents, _, err := Parse("text", []byte(text))
	switch {
	case err != nil:
		var mistake *Error
		if errors.As(err, &mistake) {
			// The place is one in the text, not in a file that the user knows.
			return nil, fmt.Errorf("from_yaml: line %d of the text: %s", mistake.Line, mistake.Message)
		}
		return nil, fmt.Errorf("from_yaml: %w", err)
	case len(documents) == 0:
		return nil, nil
	case len(documents) > 1:
		return nil, errors.New("from_yaml: the text has more than one document")
	}
	return documents[0].Decode(), nil
}

func sorted(value any) any {
	switch v := value.(type) {
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = sorted(item)
		}
		return list
	case expression.Mapping:
		m := expression.NewMap()
		for _, key := range slices.Sorted(slices.Values(v.Keys())) {
			item, _ := v.Get(key)
			m.Set(key, sorted(item))
		}
		return m
	}
	return value
}
