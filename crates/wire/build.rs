//! Compiles the contracts with protox, so that no system protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["transport", "routing", "storage", "control", "gac", "replication"]
        .map(|name| format!("proto/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
