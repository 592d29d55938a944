// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"drover/internal/expression"
	"drover/playbooks"
)

// maxNesting bounds how deep the values of variables are nested.
const maxNesting = 100

// render returns the value of a playbook's YAML value.
func (s *scope) render(value *playbooks.Value) (any, error) {
	switch value.Form {
	case playbooks.FormTemplate:
		rendered, err := value.Template.Render(s.ctx, s, expression.Budget{})
		if err != nil {
			return nil, err
		}
		return settle(rendered)
	case playbooks.FormList:
		list := make([]any, 0, len(value.Items))
		for _, item := range value.Items {
			rendered, err := s.render(item)
			if err != nil {
				return nil, err
			}
			if !s.run.isOmit(rendered) {
				list = append(list, rendered)
			}
		}
		return list, nil
	case playbooks.FormDict:
		dictionary := expression.NewMap()
		for _, pair := range value.Pairs {
			rendered, err := s.render(pair.Value)
			if err != nil {
				return nil, err
			}
			if !s.run.isOmit(rendered) {
				dictionary.Set(pair.Key, rendered)
			}
		}
		return dictionary, nil
	}
	return expression.FromGo(value.Static), nil
}

// renderRaw renders a value of the inventory or of -e, in which any text may be a template.
func (s *scope) renderRaw(name string, raw any) (any, error) {
	switch v := raw.(type) {
	case string:
		if !expression.IsTemplate(v) {
			return v, nil
		}
		template, err := s.run.template(name, v)
		if err != nil {
			return nil, err
		}
		rendered, err := template.Render(s.ctx, s, expression.Budget{})
		if err != nil {
			return nil, err
		}
		return settle(rendered)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			var err error
			if list[i], err = s.renderRaw(name, item); err != nil {
				return nil, err
			}
		}
		return list, nil
	case *expression.Map:
		dictionary := expression.NewMap()
		for key, item := range v.All() {
			rendered, err := s.renderRaw(name, item)
			if err != nil {
				return nil, err
			}
			dictionary.Set(key, rendered)
		}
		return dictionary, nil
	}
	return expression.FromGo(raw), nil
}

// template parses a text of a variable once per run.
func (r *run) template(name, text string) (*expression.Template, error) {
	key := [2]string{name, text}
	if parsed, ok := r.templates.Load(key); ok {
		return parsed.(*expression.Template), nil
	}
	parsed, err := expression.ParseTemplate(text, expression.Position{File: "variable " + name, Line: 1, Column: 1})
	if err != nil {
		return nil, err
	}
	r.templates.Store(key, parsed)
	return parsed, nil
}

// settle turns dictionaries that compute their values on demand (hostvars) into plain ones, so that a value can be kept
// beyond the task that made it and read by several goroutines.
func settle(value any) (any, error) { return settleAt(value, 0) }

func settleAt(value any, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("the value is nested deeper than %d levels", maxNesting)
	}
	switch v := value.(type) {
	case error:
		return nil, v
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			var err error
			if list[i], err = settleAt(item, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case expression.Mapping:
		dictionary := expression.NewMap()
		for _, key := range v.Keys() {
			item, _ := v.Get(key)
			settled, err := settleAt(item, depth+1)
			if err != nil {
				return nil, err
			}
			dictionary.Set(key, settled)
		}
		return dictionary, nil
	}
	return value, nil
}

// holds tells whether all conditions are true. When one is false, it returns its text.
func (s *scope) holds(conditions []*expression.Expression) (bool, string, error) {
	for _, condition := range conditions {
		yes, err := condition.EvaluateBool(s.ctx, s, expression.Budget{})
		if err != nil {
			return false, condition.Source(), err
		}
		if !yes {
			return false, condition.Source(), nil
		}
	}
	return true, "", nil
}

// optional renders a keyword that may be absent; given is false then, and also when it renders to omit.
func (s *scope) optional(value *playbooks.Value) (rendered any, given bool, err error) {
	if value == nil {
		return nil, false, nil
	}
	rendered, err = s.render(value)
	if err != nil {
		return nil, false, err
	}
	return rendered, !s.run.isOmit(rendered) && rendered != nil, nil
}

// boolean renders a keyword that is true or false.
func (s *scope) boolean(keyword string, value *playbooks.Value, fallback bool) (bool, error) {
	rendered, given, err := s.optional(value)
	if err != nil {
		return false, fmt.Errorf("%s: %w", keyword, err)
	}
	if !given {
		return fallback, nil
	}
	switch v := rendered.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "yes", "true", "on", "1":
			return true, nil
		case "no", "false", "off", "0":
			return false, nil
		}
	case int64:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	}
	return false, fmt.Errorf("%s: %s: %v is neither true nor false", value.At, keyword, rendered)
}

// number renders a keyword that is a number of at least 0.
func (s *scope) number(keyword string, value *playbooks.Value, fallback float64) (float64, error) {
	rendered, given, err := s.optional(value)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", keyword, err)
	}
	if !given {
		return fallback, nil
	}
	number, err := toNumber(rendered)
	if err != nil || !(number >= 0) {
		return 0, fmt.Errorf("%s: %s: %v is not a number of at least 0", value.At, keyword, rendered)
	}
	return number, nil
}

func toNumber(value any) (float64, error) {
	switch v := value.(type) {
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		return strconv.ParseFloat(strings.TrimSpace(v), 64)
	}
	return 0, errors.New("not a number")
}

// text renders a keyword that is text.
func (s *scope) text(keyword string, value *playbooks.Value) (string, error) {
	rendered, given, err := s.optional(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", keyword, err)
	}
	if !given {
		return "", nil
	}
	switch v := rendered.(type) {
	case string:
		return v, nil
	case int64, float64:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("%s: %s: %v is not text", value.At, keyword, rendered)
}
