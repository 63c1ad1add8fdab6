// Reads manifests and image configs as Go's clients do, with encoding/json, and writes what it read.
//
// One document a line on standard input: its kind (manifest or config), a space, and its bytes in base64. One line each
// on standard output: "refused", or what was read as JSON, without what is empty.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// The structs of opencontainers/image-spec (specs-go/v1), with the members that docker/distribution and
// containers/image know beside them.
type platform struct {
	Architecture string   `json:"architecture,omitempty"`
	OS           string   `json:"os,omitempty"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
	Features     []string `json:"features,omitempty"`
}

type descriptor struct {
	MediaType    string            `json:"mediaType,omitempty"`
	Digest       string            `json:"digest,omitempty"`
	Size         int64             `json:"size,omitempty"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	Platform     *platform         `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion,omitempty"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *descriptor       `json:"config,omitempty"`
	Layers        []descriptor      `json:"layers,omitempty"`
	Manifests     []descriptor      `json:"manifests,omitempty"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
	Blobs         []descriptor      `json:"blobs,omitempty"`
	FSLayers      json.RawMessage   `json:"fsLayers,omitempty"`
	History       json.RawMessage   `json:"history,omitempty"`
	Signatures    json.RawMessage   `json:"signatures,omitempty"`
}

type process struct {
	User       string            `json:"User,omitempty"`
	Env        []string          `json:"Env,omitempty"`
	Entrypoint []string          `json:"Entrypoint,omitempty"`
	Cmd        []string          `json:"Cmd,omitempty"`
	WorkingDir string            `json:"WorkingDir,omitempty"`
	Labels     map[string]string `json:"Labels,omitempty"`
	StopSignal string            `json:"StopSignal,omitempty"`
}

type history struct {
	Created    string `json:"created,omitempty"`
	CreatedBy  string `json:"created_by,omitempty"`
	Author     string `json:"author,omitempty"`
	Comment    string `json:"comment,omitempty"`
	EmptyLayer bool   `json:"empty_layer,omitempty"`
}

type rootfs struct {
	Type    string   `json:"type,omitempty"`
	DiffIDs []string `json:"diff_ids,omitempty"`
}

type image struct {
	Created      string    `json:"created,omitempty"`
	Author       string    `json:"author,omitempty"`
	Architecture string    `json:"architecture,omitempty"`
	Variant      string    `json:"variant,omitempty"`
	OS           string    `json:"os,omitempty"`
	Config       *process  `json:"config,omitempty"`
	RootFS       *rootfs   `json:"rootfs,omitempty"`
	History      []history `json:"history,omitempty"`
}

func read(kind string, body []byte) string {
	var into any = &manifest{}
	if kind == "config" {
		into = &image{}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return "refused"
	}
	written, err := json.Marshal(into)
	if err != nil {
		return "refused"
	}
	return string(written)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		kind, text, _ := strings.Cut(lines.Text(), " ")
		body, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(out, read(kind, body))
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}
