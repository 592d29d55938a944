// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"drover/internal/expression"
	"drover/internal/secret"
	"drover/inventory"
	"drover/playbooks"
)

// KeepSecrets gives found the texts that a run must not show and that are known before it begins: the values of variables whose
// names say so, in the inventory, in the playbook and among the extra variables.
func KeepSecrets(found *secret.Redactor, book *playbooks.Playbook, hosts *inventory.Inventory, extra *expression.Map) {
	keepNamed(found, extra)
	for _, host := range hosts.Hosts() {
		keepNamed(found, hosts.Vars(host))
	}
	for _, play := range book.Plays {
		keepWritten(found, play.Vars)
		for _, tasks := range [][]*playbooks.Task{play.PreTasks, play.Tasks, play.PostTasks, play.Handlers} {
			keepOfTasks(found, tasks)
		}
	}
}

func keepOfTasks(found *secret.Redactor, tasks []*playbooks.Task) {
	for _, task := range tasks {
		for _, dictionary := range task.TaskVars {
			keepWritten(found, dictionary)
		}
		for name, value := range task.Args {
			keepWritten(found, &playbooks.Value{Form: playbooks.FormDict, Pairs: []playbooks.Pair{{Key: name, Value: value}}})
		}
		for _, inner := range [][]*playbooks.Task{task.Block, task.Rescue, task.Always} {
			keepOfTasks(found, inner)
		}
	}
}

// keepNamed keeps what stands under a name of a secret, at any depth. A template is none; what it renders to is.
func keepNamed(found *secret.Redactor, variables *expression.Map) {
	for name, value := range variables.All() {
		keepValue(found, secret.Named(name), value, 0)
	}
}

func keepValue(found *secret.Redactor, named bool, value any, depth int) {
	if depth > maxNesting {
		return
	}
	switch v := value.(type) {
	case *expression.Map:
		for name, item := range v.All() {
			keepValue(found, named || secret.Named(name), item, depth+1)
		}
	case []any:
		for _, item := range v {
			keepValue(found, named, item, depth+1)
		}
	case string:
		keepText(found, named && !expression.IsTemplate(v), v)
	}
}

// keepWritten does the same with a dictionary as it is written in a playbook.
func keepWritten(found *secret.Redactor, dictionary *playbooks.Value) {
	if dictionary != nil {
		keepPlain(found, false, dictionary)
	}
}

func keepPlain(found *secret.Redactor, named bool, value *playbooks.Value) {
	switch value.Form {
	case playbooks.FormDict:
		for _, pair := range value.Pairs {
			keepPlain(found, named || secret.Named(pair.Key), pair.Value)
		}
	case playbooks.FormList:
		for _, item := range value.Items {
			keepPlain(found, named, item)
		}
	case playbooks.FormStatic:
		if text, ok := value.Static.(string); ok {
			keepText(found, named, text)
		}
	}
}

// keepText keeps a secret, or the passwords of the URLs in another text.
func keepText(found *secret.Redactor, isSecret bool, text string) {
	if isSecret {
		found.Keep(text)
	}
	for _, password := range secret.InURLs(text) {
		found.Keep(password)
	}
}
