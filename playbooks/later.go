// SPDX-License-Identifier: MPL-2.0

package playbooks

// laterKeywords are words of Ansible's language that drover does not speak yet, with what to write instead where there is something.
func laterKeywords() map[string]string {
	return map[string]string{
		"roles":                "put the role's tasks under tasks",
		"import_playbook":      "give both playbooks to drover run",
		"import_tasks":         "write the tasks here, or in a block",
		"include_tasks":        "write the tasks here, or in a block",
		"include_role":         "put the role's tasks under tasks",
		"import_role":          "put the role's tasks under tasks",
		"include":              "write the tasks here, or in a block",
		"include_vars":         "use vars_files on the play",
		"async":                "use timeout, or a module that waits",
		"poll":                 "use timeout, or a module that waits",
		"vars_prompt":          "pass the variable with -e",
		"debugger":             "",
		"collections":          "write the module's own name",
		"module_defaults":      "write the arguments on each task",
		"connection":           "use delegate_to: localhost for what runs on the bastion",
		"port":                 "set ansible_port in the inventory",
		"become_flags":         "",
		"become_exe":           "",
		"delegate_facts":       "",
		"fact_path":            "",
		"gather_subset":        "use the module nomad_facts",
		"gather_timeout":       "",
		"first_available_file": "",
	}
}

// laterModules are modules of ansible.builtin that playbooks use most and drover does not have yet, with what to use instead
// where there is something.
func laterModules() map[string]string {
	return map[string]string{
		"template":            "use copy with content",
		"get_url":             "use nomad_stage for Nomad, or command with curl",
		"unarchive":           "use nomad_stage for Nomad, or command with unzip",
		"lineinfile":          "use nomad_config for one key of Nomad's configuration, else copy with the whole file",
		"blockinfile":         "use copy with the whole file",
		"replace":             "use copy with the whole file",
		"package":             "use command",
		"apt":                 "use command",
		"dnf":                 "use command",
		"yum":                 "use command",
		"user":                "use command",
		"group":               "use command",
		"tempfile":            "use command with mktemp",
		"find":                "use command",
		"fetch":               "use slurp",
		"cron":                "use command",
		"reboot":              "",
		"ping":                "use command: \"true\"",
		"raw":                 "use shell",
		"script":              "use copy, then command",
		"setup":               "use nomad_facts",
		"gather_facts":        "use nomad_facts",
		"package_facts":       "use command",
		"service_facts":       "use nomad_facts",
		"add_host":            "name the host in the inventory",
		"group_by":            "name the group in the inventory",
		"wait_for_connection": "",
	}
}

// elsewhere are keywords of which a hint helps more than the nearest name.
func elsewhere() map[string]string {
	return map[string]string{
		"local_action": "write the module as usual and add delegate_to: localhost",
		"sudo":         "write become: true",
		"sudo_user":    "write become_user",
		"user":         "write remote_user",
		"always_run":   "write check_mode: false",
	}
}
