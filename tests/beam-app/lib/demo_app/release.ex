defmodule DemoApp.Release do
  @moduledoc """
  Migrations of a database that is one file, `$DEMO_DATA`: a line `expanded VERSION` for each version whose expand phase
  ran, and a line `contracted` at its end. Each can be repeated.
  """

  def migrate do
    if DemoApp.behaves?("migration-fails"), do: raise("this migration fails")
    add("expanded " <> DemoApp.version())
  end

  def contract, do: add("contracted")

  def rollback, do: store(lines() -- ["expanded " <> DemoApp.version()])

  def pending do
    version = DemoApp.version()
    unless ("expanded " <> version) in lines(), do: IO.puts("expand for " <> version)
  end

  defp add(line), do: unless(line in lines(), do: store(lines() ++ [line]))

  defp lines do
    case File.read(file()) do
      {:ok, text} -> String.split(text, "\n", trim: true)
      {:error, :enoent} -> []
    end
  end

  # Whole or not at all, as a transaction would be.
  defp store(lines) do
    File.write!(file() <> ".new", Enum.map(lines, &[&1, "\n"]))
    File.rename!(file() <> ".new", file())
  end

  defp file, do: System.fetch_env!("DEMO_DATA")
end
