defmodule DemoApp do
  @moduledoc "A service for tests; see README.md."

  use Application

  @impl true
  def start(_type, _arguments) do
    IO.puts("demo_app #{version()} begins in #{slot()}")
    if behaves?("crash-at-boot"), do: raise("this release crashes at boot")
    if behaves?("never-boots"), do: Process.sleep(:infinity)
    if behaves?("ignores-sigterm"), do: :os.set_signal(:sigterm, :ignore)
    port = String.to_integer(System.fetch_env!("PORT"))
    result = Supervisor.start_link([{DemoApp.Server, port}], strategy: :one_for_one)
    IO.puts("demo_app #{version()} listens on port #{port}")
    result
  end

  def slot, do: System.get_env("SLOT", "none")

  def version do
    with {:error, _} <- top_file("demo-version"),
         {:ok, version} <- :application.get_key(:demo_app, :vsn) do
      to_string(version)
    else
      {:ok, version} -> String.trim(version)
      :undefined -> "unknown"
    end
  end

  def behaves?(name) do
    text =
      case top_file("demo-behaviour") do
        {:ok, text} -> text
        {:error, _} -> System.get_env("DEMO_BEHAVIOUR", "")
      end

    name in String.split(text)
  end

  defp top_file(name), do: File.read(Path.join(System.get_env("RELEASE_ROOT", "."), name))
end
