defmodule DemoApp.Server do
  @moduledoc """
  Accepts connections, each in a process of its own. When it is asked to end it accepts no more, lets the requests
  that are under way finish, and closes the idle connections.
  """

  use GenServer, shutdown: 20_000

  def start_link(port), do: GenServer.start_link(__MODULE__, port, name: __MODULE__)

  @impl true
  def init(port) do
    Process.flag(:trap_exit, true)

    options = [
      :binary,
      ip: {127, 0, 0, 1},
      packet: :http_bin,
      active: false,
      reuseaddr: true,
      backlog: 1024,
      nodelay: true
    ]

    case :gen_tcp.listen(port, options) do
      {:ok, listener} ->
        acceptor = spawn_link(fn -> accept(listener) end)
        {:ok, %{listener: listener, acceptor: acceptor, connections: %{}}}

      {:error, reason} ->
        {:stop, {:cannot_listen, port, reason}}
    end
  end

  @impl true
  def handle_call({:opened, pid}, _from, state) do
    {:reply, :ok, put_in(state.connections[Process.monitor(pid)], pid)}
  end

  @impl true
  def handle_info({:DOWN, reference, :process, _pid, _reason}, state) do
    {:noreply, %{state | connections: Map.delete(state.connections, reference)}}
  end

  def handle_info({:EXIT, acceptor, reason}, %{acceptor: acceptor} = state), do: {:stop, reason, state}
  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    Process.exit(state.acceptor, :kill)
    :gen_tcp.close(state.listener)
    for {_reference, pid} <- state.connections, do: send(pid, :drain)
    wait(state.connections)
  end

  defp wait(connections) when map_size(connections) == 0, do: :ok

  defp wait(connections) do
    receive do
      {:DOWN, reference, :process, _pid, _reason} -> wait(Map.delete(connections, reference))
    end
  end

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    pid = spawn(fn -> receive(do: (:go -> DemoApp.Connection.serve(socket))) end)
    :ok = :gen_tcp.controlling_process(socket, pid)
    :ok = GenServer.call(__MODULE__, {:opened, pid})
    send(pid, :go)
    accept(listener)
  end
end
