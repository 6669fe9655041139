defmodule DemoApp.Routes do
  @moduledoc "What the service answers."

  alias DemoApp.Connection

  def handle("/", _query, _request), do: {200, "#{DemoApp.slot()} #{DemoApp.version()} #{node()}\n"}
  def handle("/version", _query, _request), do: {200, DemoApp.version()}

  def handle("/health", _query, _request) do
    if DemoApp.behaves?("unhealthy"), do: {503, "unhealthy\n"}, else: {200, "healthy\n"}
  end

  def handle("/slow", query, _request) do
    Process.sleep(milliseconds(query, 1_000))
    {200, "#{DemoApp.slot()} #{DemoApp.version()}\n"}
  end

  def handle("/poll", query, _request) do
    Connection.pause(milliseconds(query, 30_000))
    {200, "#{DemoApp.slot()} #{DemoApp.version()}\n"}
  end

  def handle("/migrated", _query, _request) do
    with file when is_binary(file) <- System.get_env("DEMO_DATA"),
         {:ok, text} <- File.read(file) do
      {200, text}
    else
      _ -> {200, ""}
    end
  end

  def handle("/ws", _query, %{headers: %{"sec-websocket-key" => key}}), do: {:upgrade, key}
  def handle("/ws", _query, _request), do: {400, "this is a WebSocket\n"}
  def handle(_path, _query, _request), do: {404, "not found\n"}

  defp milliseconds(query, default) do
    case Integer.parse(Map.get(query, "ms", "")) do
      {number, ""} when number >= 0 -> min(number, 600_000)
      _ -> default
    end
  end
end
