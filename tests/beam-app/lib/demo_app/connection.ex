defmodule DemoApp.Connection do
  @moduledoc "One connection: HTTP/1.1 with keep-alive, a request after the other."

  @idle 120_000

  def serve(socket) do
    case request(socket) do
      {:ok, request} ->
        case answer(socket, request) do
          :keep -> serve(socket)
          :close -> :gen_tcp.close(socket)
        end

      :closed ->
        :gen_tcp.close(socket)
    end
  end

  @doc "Waits for `time` milliseconds, or until the service is asked to end."
  def pause(time) do
    receive do
      :drain -> send(self(), :drain)
    after
      time -> :ok
    end
  end

  # Waits for a request or for the end, whichever comes first.
  defp request(socket) do
    :inet.setopts(socket, packet: :http_bin, active: :once)

    receive do
      {:http, ^socket, {:http_request, method, {:abs_path, path}, version}} ->
        headers(socket, %{method: method, path: path, version: version, headers: %{}})

      {:http, ^socket, {:http_error, "\r\n"}} ->
        request(socket)

      {:http, ^socket, _other} ->
        :gen_tcp.send(socket, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        :closed

      {:tcp_closed, ^socket} ->
        :closed

      {:tcp_error, ^socket, _reason} ->
        :closed

      :drain ->
        :closed
    after
      @idle -> :closed
    end
  end

  defp headers(socket, request) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, {:http_header, _, name, _, value}} ->
        name = name |> to_string() |> String.downcase()
        headers(socket, put_in(request.headers[name], value))

      {:ok, :http_eoh} ->
        body(socket, request)

      _ ->
        :closed
    end
  end

  # Nobody reads a body here, but the next request begins behind it.
  defp body(socket, request) do
    case Integer.parse(Map.get(request.headers, "content-length", "0")) do
      {0, ""} ->
        {:ok, request}

      {length, ""} when length > 0 ->
        :inet.setopts(socket, packet: :raw)
        with {:ok, _body} <- :gen_tcp.recv(socket, length, 10_000), do: {:ok, request}, else: (_ -> :closed)

      _ ->
        :closed
    end
  end

  defp answer(socket, request) do
    uri = URI.parse(request.path)

    case DemoApp.Routes.handle(uri.path, URI.decode_query(uri.query || ""), request) do
      {:upgrade, key} ->
        DemoApp.WebSocket.serve(socket, key)
        :close

      {status, body} ->
        ending = ending(request)

        head = [
          "HTTP/1.1 #{status} #{reason(status)}\r\n",
          "content-type: text/plain\r\ncontent-length: #{byte_size(body)}\r\n",
          "x-slot: #{DemoApp.slot()}\r\nx-version: #{DemoApp.version()}\r\n",
          if(ending == :close, do: "connection: close\r\n\r\n", else: "connection: keep-alive\r\n\r\n")
        ]

        body = if request.method == :HEAD, do: "", else: body
        if :gen_tcp.send(socket, [head, body]) == :ok, do: ending, else: :close
    end
  end

  defp ending(request) do
    wish = request.headers |> Map.get("connection", "") |> String.downcase()

    receive do
      :drain -> :close
    after
      0 ->
        cond do
          wish == "close" -> :close
          request.version == {1, 0} and wish != "keep-alive" -> :close
          true -> :keep
        end
    end
  end

  defp reason(200), do: "OK"
  defp reason(400), do: "Bad Request"
  defp reason(404), do: "Not Found"
  defp reason(503), do: "Service Unavailable"
end
