defmodule DemoApp.WebSocket do
  @moduledoc "Echoes messages (RFC 6455), unfragmented ones of up to 1 MB."

  import Bitwise

  @magic "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
  @longest 1_000_000

  def serve(socket, key) do
    accept = Base.encode64(:crypto.hash(:sha, String.trim(key) <> @magic))

    :gen_tcp.send(socket, [
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n",
      "sec-websocket-accept: #{accept}\r\nx-slot: #{DemoApp.slot()}\r\n\r\n"
    ])

    :inet.setopts(socket, packet: :raw)
    loop(socket, "")
  end

  defp loop(socket, buffer) do
    case frame(buffer) do
      {:ok, opcode, payload, rest} ->
        if handle(socket, opcode, payload) == :ok, do: loop(socket, rest)

      :invalid ->
        send_frame(socket, 8, <<1002::16>>)

      :more ->
        :inet.setopts(socket, active: :once)

        receive do
          {:tcp, ^socket, data} -> loop(socket, buffer <> data)
          {:tcp_closed, ^socket} -> :closed
          {:tcp_error, ^socket, _reason} -> :closed
          # Going away.
          :drain -> send_frame(socket, 8, <<1001::16>>)
        end
    end
  end

  defp handle(socket, opcode, payload) when opcode in [1, 2], do: send_frame(socket, opcode, payload)
  defp handle(socket, 9, payload), do: send_frame(socket, 10, payload)
  defp handle(_socket, 10, _payload), do: :ok

  defp handle(socket, _close, payload) do
    send_frame(socket, 8, binary_part(payload, 0, min(2, byte_size(payload))))
    :closed
  end

  # A whole message with its mask, as clients must send it.
  defp frame(<<1::1, 0::3, opcode::4, 1::1, 127::7, length::64, rest::binary>>), do: unmask(opcode, length, rest)
  defp frame(<<1::1, 0::3, opcode::4, 1::1, 126::7, length::16, rest::binary>>), do: unmask(opcode, length, rest)

  defp frame(<<1::1, 0::3, opcode::4, 1::1, length::7, rest::binary>>) when length < 126,
    do: unmask(opcode, length, rest)

  defp frame(<<1::1, 0::3, _opcode::4, 1::1, _::7, _::binary>> = short) when byte_size(short) < 10, do: :more
  defp frame(short) when byte_size(short) < 2, do: :more
  defp frame(_other), do: :invalid

  defp unmask(_opcode, length, _rest) when length > @longest, do: :invalid

  defp unmask(opcode, length, <<mask::32, rest::binary>>) do
    case rest do
      <<masked::binary-size(length), rest::binary>> -> {:ok, opcode, xor(masked, mask, <<>>), rest}
      _ -> :more
    end
  end

  defp unmask(_opcode, _length, _short), do: :more

  defp xor(<<word::32, rest::binary>>, mask, done), do: xor(rest, mask, <<done::binary, bxor(word, mask)::32>>)

  defp xor(rest, mask, done) do
    size = bit_size(rest)
    <<word::size(size)>> = rest
    <<key::size(size), _::bitstring>> = <<mask::32>>
    <<done::binary, bxor(word, key)::size(size)>>
  end

  defp send_frame(socket, opcode, payload) do
    length =
      case byte_size(payload) do
        short when short < 126 -> <<short::8>>
        middle when middle < 65_536 -> <<126::8, middle::16>>
        long -> <<127::8, long::64>>
      end

    :gen_tcp.send(socket, [<<1::1, 0::3, opcode::4>>, length, payload])
  end
end
