//! A small client of the Container Runtime Interface (k8s.io/cri-api, runtime.v1) over a unix socket.

mod messages;

use std::path::Path;
use std::time::Duration;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use messages::*;
pub use messages::{PodSandboxConfig, PortMapping};

/// How long the runtime may take for one call. It only catches hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// A connection to a runtime's CRI socket. Calls block; an error is the runtime's own text.
#[derive(Debug)]
pub struct Cri {
    tokio: tokio::runtime::Runtime,
    channel: Channel,
}

/// What a command in a container printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Exit status.
    pub code: i32,
    /// Stdout.
    pub stdout: String,
    /// Stderr.
    pub stderr: String,
}

/// A pod sandbox, as the runtime reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The pod's address, empty when it has none.
    pub ip: String,
    /// The pod's further addresses.
    pub additional_ips: Vec<String>,
    /// Path of its network namespace in the runtime's mount namespace.
    pub netns: String,
}

impl Cri {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap_or_else(|e| panic!("a runtime for the CRI client: {e}"));
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display()))
            .unwrap_or_else(|e| panic!("CRI socket {}: {e}", path.display()));
        let channel = tokio
            .block_on(endpoint.connect())
            .unwrap_or_else(|e| panic!("connecting to the CRI socket {}: {e:?}", path.display()));
        Self { tokio, channel }
    }

    /// Starts a pod sandbox and returns its ID.
    pub fn run_pod_sandbox(&self, config: &PodSandboxConfig) -> Result<String, String> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        self.call::<_, RunPodSandboxResponse>("RunPodSandbox", request).map(|r| r.pod_sandbox_id)
    }

    /// Address and namespace of a sandbox.
    pub fn sandbox(&self, id: &str) -> Result<Sandbox, String> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let response: PodSandboxStatusResponse = self.call("PodSandboxStatus", request)?;
        let network = response.status.and_then(|s| s.network).unwrap_or_default();
        let info = response.info.get("info").map(String::as_str).unwrap_or_default();
        let info: serde_json::Value = serde_json::from_str(info).map_err(|e| format!("sandbox info {info:?}: {e}"))?;
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
        let netns = namespaces.iter().find(|n| n["type"] == "network").and_then(|n| n["path"].as_str());
        Ok(Sandbox {
            ip: network.ip,
            additional_ips: network.additional_ips.into_iter().map(|ip| ip.ip).collect(),
            netns: netns.unwrap_or_default().to_owned(),
        })
    }

    /// Creates and starts a container in a sandbox and returns its ID. The image's entrypoint runs.
    pub fn start_container(
        &self,
        sandbox: &str,
        config: &PodSandboxConfig,
        name: &str,
        image: &str,
    ) -> Result<String, String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(ContainerConfig {
                metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
                image: Some(ImageSpec { image: image.to_owned() }),
                command: Vec::new(),
                args: Vec::new(),
            }),
            sandbox_config: Some(config.clone()),
        };
        let container: CreateContainerResponse = self.call("CreateContainer", request)?;
        let request = ContainerId { container_id: container.container_id.clone() };
        self.call::<_, Nothing>("StartContainer", request)?;
        Ok(container.container_id)
    }

    /// Runs a command in a container to its end.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<Exec, String> {
        let cmd = command.iter().map(|part| (*part).to_owned()).collect();
        let request = ExecSyncRequest { container_id: container.to_owned(), cmd, timeout: 0 };
        let response: ExecSyncResponse = self.call("ExecSync", request)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Exec { code: response.exit_code, stdout: text(response.stdout), stderr: text(response.stderr) })
    }

    /// Stops a sandbox: ends its containers and takes its network down.
    pub fn stop_pod_sandbox(&self, id: &str) -> Result<(), String> {
        let request = SandboxId { pod_sandbox_id: id.to_owned() };
        self.call::<_, Nothing>("StopPodSandbox", request).map(|_| ())
    }

    /// Removes a sandbox and its containers.
    pub fn remove_pod_sandbox(&self, id: &str) -> Result<(), String> {
        let request = SandboxId { pod_sandbox_id: id.to_owned() };
        self.call::<_, Nothing>("RemovePodSandbox", request).map(|_| ())
    }

    /// Tells the runtime the node's pod CIDRs, separated by ',', as the kubelet does.
    pub fn set_pod_cidr(&self, pod_cidr: &str) -> Result<(), String> {
        let network_config = Some(NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let request = UpdateRuntimeConfigRequest { runtime_config: Some(RuntimeConfig { network_config }) };
        self.call::<_, Nothing>("UpdateRuntimeConfig", request).map(|_| ())
    }

    /// Why the runtime's pod network is not ready; `None` when it is.
    pub fn network_problem(&self) -> Result<Option<String>, String> {
        let response: StatusResponse = self.call("Status", Nothing {})?;
        let mut conditions = response.status.unwrap_or_default().conditions.into_iter();
        let network = conditions.find(|condition| condition.kind == "NetworkReady");
        Ok(match network {
            Some(condition) if condition.status => None,
            Some(condition) => Some(format!("{}: {}", condition.reason, condition.message)),
            None => Some("the runtime does not tell".to_owned()),
        })
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{method}"))
            .map_err(|e| format!("{method}: {e}"))?;
        let mut grpc = Grpc::new(self.channel.clone());
        let answer = async {
            grpc.ready().await.map_err(|e| format!("{method}: the connection is gone: {e}"))?;
            let codec = ProstCodec::<Q, A>::default();
            let response = grpc.unary(tonic::Request::new(request), path, codec).await;
            response.map(tonic::Response::into_inner).map_err(|status| format!("{method}: {}", status.message()))
        };
        self.tokio
            .block_on(async { tokio::time::timeout(DEADLINE, answer).await })
            .unwrap_or_else(|_| Err(format!("{method}: no answer within {} s", DEADLINE.as_secs())))
    }
}
