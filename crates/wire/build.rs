//! Compiles the contracts with protox, so that no system protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["transport", "routing", "storage", "control", "gac", "replication"]
        .map(|name| format!("proto/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .bytes(".")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
