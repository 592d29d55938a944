// SPDX-License-Identifier: MPL-2.0

// Package testrelease makes Nomad releases for tests: programs that answer as Nomad does and no more, zips, lists of hashes, and
// keys that sign them.
package testrelease

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// Program is a Linux program that answers as Nomad of a version does. For amd64 it runs; for arm64 it is a stand-in, with the right
// header and nothing that could run.
func Program(t testing.TB, architecture, version string) []byte {
	t.Helper()
	if architecture == "arm64" {
		return elfOf(183, bytes.Repeat([]byte("nomad "+version), 300))
	}
	return Speaking(t, "Nomad v"+version+"\nBuildDate 2025-11-11T16:18:19Z\n")
}

const loaded, entry = 0x400000, 64 + 56

// Speaking is a program that writes a text and ends well, in nine instructions.
func Speaking(t testing.TB, text string) []byte {
	t.Helper()
	var code bytes.Buffer
	move := func(opcode byte, value int) { // mov r32, imm32
		code.WriteByte(opcode)
		if err := binary.Write(&code, binary.LittleEndian, uint32(value)); err != nil {
			t.Fatal(err)
		}
	}
	const length = 5*5 + 2 + 2 + 2
	move(0xb8, 1) // eax: write
	move(0xbf, 1) // edi: stdout
	move(0xbe, loaded+entry+length)
	move(0xba, len(text))
	code.Write([]byte{0x0f, 0x05}) // syscall
	move(0xb8, 60)                 // eax: exit
	code.Write([]byte{0x31, 0xff, 0x0f, 0x05})
	if code.Len() != length {
		t.Fatalf("the code has %d bytes, not %d", code.Len(), length)
	}
	return elfOf(62, append(code.Bytes(), text...))
}

// Crashing is a program whose only instruction is an invalid one.
func Crashing(t testing.TB) []byte {
	t.Helper()
	return elfOf(62, []byte{0x0f, 0x0b})
}

// elfOf puts code behind the headers of a program of one segment.
func elfOf(machine uint16, code []byte) []byte {
	content := make([]byte, entry, entry+len(code))
	copy(content, "\x7fELF\x02\x01\x01")
	size := uint64(entry + len(code))
	le := binary.LittleEndian
	le.PutUint16(content[16:], 2) // executable
	le.PutUint16(content[18:], machine)
	le.PutUint32(content[20:], 1)
	le.PutUint64(content[24:], loaded+entry)
	le.PutUint64(content[32:], 64) // program headers
	le.PutUint16(content[52:], 64)
	le.PutUint16(content[54:], 56)
	le.PutUint16(content[56:], 1)
	header := content[64:]
	le.PutUint32(header[0:], 1) // load
	le.PutUint32(header[4:], 5) // read, execute
	le.PutUint64(header[16:], loaded)
	le.PutUint64(header[24:], loaded)
	le.PutUint64(header[32:], size)
	le.PutUint64(header[40:], size)
	le.PutUint64(header[48:], 0x1000)
	return append(content, code...)
}
