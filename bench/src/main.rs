//! `bench/run` starts this.

fn main() -> std::process::ExitCode {
    conet_bench::main()
}
