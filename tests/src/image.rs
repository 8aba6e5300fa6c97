//! A container image of the machine's static busybox, as an OCI image archive that containerd and podman both load.

use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::need;

/// The image's name. It is local: no runtime asks a registry for it.
pub const NAME: &str = "localhost/podlink/busybox:test";

/// A CGI program that answers with the address its client has for the server.
const WHO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$REMOTE_ADDR\"\n";

/// The programs of busybox that tests call by name.
const APPLETS: &[&str] = &["cat", "httpd", "ip", "ls", "nc", "ping", "sh", "sleep", "wget"];

/// Writes the image as `<dir>/busybox.tar`. A container of it sleeps until it is killed. `/www` can be served with
/// `httpd -h /www`; its `/cgi-bin/who` answers with the client's address.
pub fn write(dir: &Path) -> PathBuf {
    let file = dir.join("busybox.tar");
    archive(&file).unwrap_or_else(|e| panic!("writing the busybox image {}: {e}", file.display()));
    file
}

fn archive(file: &Path) -> std::io::Result<()> {
    let layer = layer()?;
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": { "Entrypoint": ["/bin/sleep"], "Cmd": ["1000000"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string()
    .into_bytes();
    let blob = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let mut entry = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({ "io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();

    let mut tar = Builder::new(std::fs::File::create(file)?);
    add(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    add(&mut tar, "index.json", 0o644, index.as_bytes())?;
    for bytes in [&layer, &config, &manifest] {
        add(&mut tar, &format!("blobs/{}", digest(bytes).replace(':', "/")), 0o644, bytes)?;
    }
    tar.finish()
}

/// The root file system, uncompressed.
fn layer() -> std::io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for dir in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "www", "www/cgi-bin"] {
        let mut header = header(0o755, 0);
        header.set_entry_type(EntryType::Directory);
        tar.append_data(&mut header, format!("{dir}/"), std::io::empty())?;
    }
    add(&mut tar, "bin/busybox", 0o755, &std::fs::read(need::tool("busybox"))?)?;
    for applet in APPLETS {
        let mut header = header(0o777, 0);
        header.set_entry_type(EntryType::Symlink);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    add(&mut tar, "www/cgi-bin/who", 0o755, WHO.as_bytes())?;
    tar.into_inner()
}

fn add<W: std::io::Write>(tar: &mut Builder<W>, name: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    tar.append_data(&mut header(mode, bytes.len() as u64), name, bytes)
}

fn header(mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The machine's architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
