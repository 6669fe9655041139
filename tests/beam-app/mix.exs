defmodule DemoApp.MixProject do
  use Mix.Project

  def project do
    [
      app: :demo_app,
      version: System.get_env("APP_VERSION", "0.1.0"),
      elixir: "~> 1.14",
      start_permanent: true,
      deps: [],
      releases: [demo_app: [steps: [:assemble, :tar], include_executables_for: [:unix]]]
    ]
  end

  def application do
    [mod: {DemoApp, []}, extra_applications: [:logger, :crypto]]
  end
end
